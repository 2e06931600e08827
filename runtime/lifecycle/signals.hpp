// Signals become notes: the handler writes down that one came, and nothing else.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/base/result.hpp"

namespace lockstep::lifecycle {

/// From now on `signal` is written down instead of ending the process. A handler that was there
/// before is called as well; in a forked child everything is as if this had never been called. May
/// be repeated. Belongs to the process: sessions share it.
Status catch_signal(int signal);

/// Whom the handler tells, beside writing it down; NULL: nobody. `call` is safe in a signal
/// handler. Belongs to the process.
void tell_of_signals(void (*call)(void* context), void* context) noexcept;

/// A set of signals: a bit for each.
using Signals = std::uint64_t;
inline constexpr Signals kAllSignals = ~Signals{0};
constexpr Signals signal_bit(int signal) noexcept {
  return Signals{1} << (signal - 1);
}

/// Whether any came that was not taken yet: one load.
bool has_signal() noexcept;

/// The most urgent of these that came since the last call, and forgets the other ones of them:
/// SIGTERM before all, since who sends it kills next. Any thread.
std::optional<int> take_signal(Signals among = kAllSignals) noexcept;

/// Whether this one came too, and forgets it.
bool take_this_signal(int signal) noexcept;

/// Puts back the handlers that were there before, where nobody has put another since.
void release_signals() noexcept;

}  // namespace lockstep::lifecycle
