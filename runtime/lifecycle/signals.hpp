// Signals become notes: the handler writes down that one came, and nothing else.
#pragma once

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

/// The most urgent that came since the last call, and forgets the others: SIGTERM before all, since
/// who sends it kills next. Any thread.
std::optional<int> take_signal() noexcept;

/// Has one come since?
bool has_signal() noexcept;

/// Whether this one came too, and forgets it.
bool take_this_signal(int signal) noexcept;

/// Writes one down that came, as its handler would.
void note_signal(int signal) noexcept;

/// Puts back the handlers that were there before, where nobody has put another since.
void release_signals() noexcept;

}  // namespace lockstep::lifecycle
