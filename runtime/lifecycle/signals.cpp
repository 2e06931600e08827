// The handler, which may only touch what a signal may find in any state: lock-free atomics and what
// was there before it.
#include "runtime/lifecycle/signals.hpp"

#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

#include <fmt/format.h>

#include "runtime/config/signal_names.hpp"

namespace lockstep::lifecycle {
namespace {

constexpr int kSignals = 64;

struct Caught {
  std::atomic<bool> is_caught{false};
  struct sigaction before {};  // complete before is_caught is set
};

std::array<Caught, kSignals> caught;
std::atomic<Signals> noted{0};
std::atomic<pid_t> owner{0};
std::atomic<void (*)(void*)> listener{nullptr};
std::atomic<void*> listener_context{nullptr};  // complete before the listener is set
std::atomic<int> telling{0};                   // handlers that call the listener right now
std::mutex mutex;                              // of catch and release; the handler takes no lock
static_assert(std::atomic<Signals>::is_always_lock_free);

/// What a forked child would have seen: it is not a rank, and must not outlive its end.
void act_as_before(int signal, const struct sigaction& before) {
  if (before.sa_handler != SIG_DFL) return;
  std::signal(signal, SIG_DFL);
  raise(signal);
}

void on_signal(int signal, siginfo_t* info, void* context) {
  const int kept = errno;
  const struct sigaction& before = caught[static_cast<std::size_t>(signal - 1)].before;
  const bool is_rank = getpid() == owner.load(std::memory_order_relaxed);
  if (is_rank) {
    noted.fetch_or(signal_bit(signal), std::memory_order_release);
    telling.fetch_add(1);
    if (auto* const call = listener.load()) call(listener_context.load());
    telling.fetch_sub(1);
  }
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else if (!is_rank) {
    act_as_before(signal, before);
  }
  errno = kept;
}

}  // namespace

Status catch_signal(int signal) {
  if (!read_signal(std::to_string(signal))) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("{} cannot be made a trigger; use one like SIGUSR1 or SIGTERM",
                        signal_name(signal))};
  }
  std::lock_guard lock(mutex);
  Caught& one = caught[static_cast<std::size_t>(signal - 1)];
  if (one.is_caught && owner == getpid()) return {};
  owner = getpid();
  struct sigaction mine {};
  mine.sa_sigaction = on_signal;
  mine.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&mine.sa_mask);
  // Read first, set then: a signal in between finds the old handler, and one after it the record.
  if (sigaction(signal, nullptr, &one.before) != 0 || sigaction(signal, &mine, nullptr) != 0) {
    return {LOCKSTEP_E_RESOURCE, fmt::format("sigaction: {}", std::strerror(errno))};
  }
  one.is_caught = true;
  return {};
}

void tell_of_signals(void (*call)(void* context), void* context) noexcept {
  if (call != nullptr) listener_context.store(context);
  listener.store(call);
  // Whom a handler on another thread is telling may be about to go.
  while (call == nullptr && telling.load() != 0) sched_yield();
}

bool has_signal() noexcept {
  return noted.load(std::memory_order_relaxed) != 0;
}

std::optional<int> take_signal(Signals among) noexcept {
  // Mostly nothing came: do not write to a line that others read.
  if ((noted.load(std::memory_order_relaxed) & among) == 0) return std::nullopt;
  const Signals came = noted.fetch_and(~among, std::memory_order_acq_rel) & among;
  if (came == 0) return std::nullopt;
  if ((came & signal_bit(SIGTERM)) != 0) return SIGTERM;
  // SIGCONT goes before another signal of the scheduler's; alone it is one like the others.
  const Signals others = came & ~signal_bit(SIGCONT);
  return std::countr_zero(others != 0 ? others : came) + 1;
}

bool take_this_signal(int signal) noexcept {
  return (noted.fetch_and(~signal_bit(signal), std::memory_order_acq_rel) & signal_bit(signal)) !=
         0;
}

void release_signals() noexcept {
  std::lock_guard lock(mutex);
  for (int signal = 1; signal <= kSignals; ++signal) {
    Caught& one = caught[static_cast<std::size_t>(signal - 1)];
    if (!one.is_caught.exchange(false)) continue;
    struct sigaction now {};
    const bool is_ours = sigaction(signal, nullptr, &now) == 0 && now.sa_sigaction == on_signal;
    if (is_ours) sigaction(signal, &one.before, nullptr);
  }
  noted = 0;
}

}  // namespace lockstep::lifecycle
