// The wait ladder: spin while every rank has a core, then yield, then sleep until a bell rings.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

#include "runtime/base/time.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

struct WaitPolicy {
  Nanos spin = 0;              ///< how long to spin before yielding; 0: yield at once
  Nanos yield = kMillisecond;  ///< how long to yield before sleeping
};

inline void pause_core() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Sleeps while the bell still reads `seen`, at most `limit`; early returns are allowed.
void sleep_on(Bell& bell, std::uint32_t seen, Nanos limit) noexcept;

/// Wakes everybody who sleeps on the bell, with a system call.
void wake_all(Bell& bell) noexcept;

/// The second half of ring(), for callers that have a fence of their own.
inline void wake_sleepers(Bell& bell) noexcept {
  if (bell.sleepers.load(std::memory_order_relaxed) != 0) wake_all(bell);
}

/// Wakes everybody who sleeps on the bell; a fence and one load when nobody does. Call it after the
/// store that the sleepers wait for.
inline void ring(Bell& bell) noexcept {
  // Orders the caller's store before the look at the sleepers; the fence after the sleeper's
  // increment does the other half, so one of the two always sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake_sleepers(bell);
}

enum class Waited { ready, look };

/// One rung at a time: polls `ready()` for a few microseconds, gives the core away once, or sleeps
/// once. Returns Waited::look when the caller should look for other trouble (deadline, verdict).
class Ladder {
 public:
  explicit Ladder(const WaitPolicy& policy) noexcept
      : policy_(policy), phase_(policy.spin > 0 ? Phase::spin : Phase::yield) {}

  template <class Ready>
  Waited climb(Bell& bell, Ready&& ready, Nanos sleep_limit) noexcept {
    if (phase_ == Phase::sleep) {
      const std::uint32_t seen = bell.value.load(std::memory_order_acquire);
      bell.sleepers.fetch_add(1, std::memory_order_relaxed);
      // An increment that is sequentially consistent by itself lets later loads pass it on Arm.
      std::atomic_thread_fence(std::memory_order_seq_cst);
      bool is_ready = ready();
      if (!is_ready) {
        sleep_on(bell, seen, sleep_limit);
        is_ready = ready();  // who looks after all is over finds others gone, as they should be
      }
      bell.sleepers.fetch_sub(1, std::memory_order_relaxed);
      return is_ready ? Waited::ready : Waited::look;
    }
    const int polls = phase_ == Phase::spin ? kPollsPerLook : 1;
    for (int i = 0; i < polls; ++i) {
      if (ready()) return Waited::ready;
      if (phase_ == Phase::spin) pause_core();
    }
    if (phase_ == Phase::yield) sched_yield();
    const Nanos time = now();
    if (start_ == 0) start_ = time;
    if (phase_ == Phase::spin && time - start_ >= policy_.spin) phase_ = Phase::yield;
    if (phase_ == Phase::yield && time - start_ >= after(policy_.spin, policy_.yield)) {
      phase_ = Phase::sleep;
    }
    return Waited::look;
  }

  /// The next climb sleeps.
  bool is_sleeping() const noexcept { return phase_ == Phase::sleep; }

 private:
  enum class Phase { spin, yield, sleep };
  static constexpr int kPollsPerLook = 64;  ///< reading the clock costs about as much as 20 polls

  WaitPolicy policy_;
  Phase phase_;
  Nanos start_ = 0;
};

}  // namespace lockstep::node
