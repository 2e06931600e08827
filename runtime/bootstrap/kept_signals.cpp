// Asks before and puts back after; what has not changed is not touched.
#include "runtime/bootstrap/kept_signals.hpp"

#include "runtime/config/signal_names.hpp"

namespace lockstep::bootstrap {
namespace {

/// The handler's address, whichever of the two kinds it is: they share their place.
bool is_same(const struct sigaction& a, const struct sigaction& b) noexcept {
  return a.sa_handler == b.sa_handler;
}

}  // namespace

KeptSignals::KeptSignals() {
  for (const int signal : usable_signals()) {
    struct sigaction now {};
    if (sigaction(signal, nullptr, &now) == 0) before_.emplace_back(signal, now);
  }
}

KeptSignals::~KeptSignals() {
  for (const auto& [signal, before] : before_) {
    struct sigaction now {};
    if (sigaction(signal, nullptr, &now) == 0 && !is_same(now, before)) {
      sigaction(signal, &before, nullptr);
    }
  }
}

}  // namespace lockstep::bootstrap
