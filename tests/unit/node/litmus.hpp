// Dekker's handshake as polls and holds use it, on real cores: one side stores numbers and looks
// for a hold, the other side holds and reads the number.
#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <tuple>

#include "runtime/base/time.hpp"
#include "runtime/node/asymmetric_fence.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

/// In memory that both sides share.
struct Litmus {
  struct alignas(kLine) Word {
    std::atomic<std::uint64_t> value{0};
  };
  static constexpr std::uint64_t kEnd = UINT64_MAX;

  Word poll;     ///< the frequent side's last poll
  Word held;     ///< the rare side's turn
  Word seen_at;  ///< the first poll that saw the turn
  Word seen;     ///< and that turn
  Word go_on;    ///< the turn that is over
};

/// Polls as fast as it can, in each turn until it sees the hold; until the rare side ends.
inline void poll_until_held(Litmus& litmus, const AsymmetricFence& fence) {
  std::uint64_t turn = 0;
  for (std::uint64_t poll = 1;; ++poll) {
    litmus.poll.value.store(poll, std::memory_order_relaxed);
    fence.light();
    const std::uint64_t held = litmus.held.value.load(std::memory_order_relaxed);
    if (held == turn) continue;
    if (held == Litmus::kEnd) return;
    turn = held;
    litmus.seen_at.value.store(poll, std::memory_order_relaxed);
    litmus.seen.value.store(turn, std::memory_order_release);
    for (int i = 1; litmus.go_on.value.load(std::memory_order_acquire) < turn; ++i) {
      if (i % 10'000 == 0) std::this_thread::yield();
    }
  }
}

/// Holds again and again for about `length`, and counts the turns in which neither side saw the
/// other: a poll that did not see the hold is not among those that the holder has read.
/// `fence_heavily` is what it does in between.
template <class Fence>
std::uint64_t hold_and_count_misses(Litmus& litmus, Nanos length, Fence&& fence_heavily) {
  std::minstd_rand random(7);
  const Nanos limit = now() + length;
  std::uint64_t misses = 0;
  for (std::uint64_t turn = 1; now() < limit; ++turn) {
    for (std::uint32_t i = random() % 32; i > 0; --i) std::ignore = now();
    litmus.held.value.store(turn, std::memory_order_relaxed);
    fence_heavily();
    const std::uint64_t poll = litmus.poll.value.load(std::memory_order_relaxed);
    for (int i = 1; litmus.seen.value.load(std::memory_order_acquire) < turn; ++i) {
      if (i % 10'000 == 0) std::this_thread::yield();
    }
    if (litmus.seen_at.value.load(std::memory_order_relaxed) > poll + 1) ++misses;
    litmus.go_on.value.store(turn, std::memory_order_release);
  }
  litmus.held.value.store(Litmus::kEnd, std::memory_order_relaxed);
  return misses;
}

}  // namespace lockstep::node
