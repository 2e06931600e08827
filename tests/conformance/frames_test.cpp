// Frames arrive whole, none is lost or invented, and a sleeper is woken.
// Method: every frame carries its number and a pattern that both ends can compute.
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "link.hpp"

namespace lockstep::conformance {
namespace {

using Frames = TransportTest;

Bytes frame_of_length(std::size_t length) {
  Bytes frame(length);
  for (std::size_t i = 0; i < length; ++i) frame[i] = static_cast<std::byte>(i * 7 + length);
  return frame;
}

/// Ticks off numbers below `count`; a number beyond it, or a damaged frame, fails the test.
class Checklist {
 public:
  explicit Checklist(std::size_t count) : seen_(count), missing_(count) {}

  void tick_off(const Bytes& frame) {
    const std::uint64_t number = number_of(frame);
    ASSERT_LT(number, seen_.size()) << "this frame was never posted";
    if (!seen_[number]) --missing_;
    seen_[number] = true;  // a repetition is allowed
  }
  [[nodiscard]] bool is_complete() const { return missing_ == 0; }
  [[nodiscard]] std::size_t missing() const { return missing_; }

 private:
  std::vector<bool> seen_;
  std::size_t missing_;
};

TEST_P(Frames, EveryLengthArrivesIntact) {
  open_link();
  std::array<bool, LOCKSTEP_FRAME_MAX + 1> seen{};
  std::size_t missing = LOCKSTEP_FRAME_MAX;
  right().on_frame([&](const Bytes& frame) {
    ASSERT_GE(frame.size(), 1u);
    ASSERT_LE(frame.size(), LOCKSTEP_FRAME_MAX);
    EXPECT_EQ(frame, frame_of_length(frame.size()));
    if (!seen[frame.size()]) --missing;
    seen[frame.size()] = true;
  });
  for (std::size_t length = 1; length <= LOCKSTEP_FRAME_MAX; ++length) {
    send(left(), right(), frame_of_length(length));
  }
  EXPECT_TRUE(pump_until([&] { return missing == 0; })) << missing << " lengths are missing";
}

TEST_P(Frames, NothingIsLostWhenTheQueueIsFull) {
  constexpr std::size_t kFrames = 100'000;
  open_link();
  Checklist checklist(kFrames);
  right().on_frame([&](const Bytes& frame) { checklist.tick_off(frame); });
  for (std::uint64_t number = 0; number < kFrames; ++number) {
    const std::size_t length = kNumberedMin + number % (LOCKSTEP_FRAME_MAX + 1 - kNumberedMin);
    send(left(), right(), numbered_frame(number, length));
    if (HasFatalFailure()) return;
  }
  EXPECT_TRUE(pump_until([&] { return checklist.is_complete(); }))
      << checklist.missing() << " frames are missing";
  EXPECT_GT(times_full_, 0u) << "a queue without a limit";
}

TEST_P(Frames, BothDirectionsAtOnce) {
  constexpr std::size_t kFrames = 20'000;
  open_link();
  if (is_self_only()) GTEST_SKIP() << "has one direction only";
  Checklist to_right(kFrames);
  Checklist to_left(kFrames);
  right().on_frame([&](const Bytes& frame) { to_right.tick_off(frame); });
  left().on_frame([&](const Bytes& frame) { to_left.tick_off(frame); });
  for (std::uint64_t number = 0; number < kFrames; ++number) {
    send(left(), right(), numbered_frame(number, 64));
    send(right(), left(), numbered_frame(number, 64));
    if (HasFatalFailure()) return;
  }
  EXPECT_TRUE(pump_until([&] { return to_right.is_complete() && to_left.is_complete(); }))
      << to_right.missing() << " and " << to_left.missing() << " frames are missing";
}

/// Sleeps until something was handed over; false when that takes longer than anyone waits.
bool sleep_until_handed_over(Instance& instance, std::size_t& sleeps) {
  constexpr int kPatienceMs = 30'000;
  while (instance.poll() == 0) {
    if (instance.arm() != LOCKSTEP_OK) continue;
    pollfd descriptor{instance.wake_fd(), POLLIN, 0};
    ++sleeps;
    if (::poll(&descriptor, 1, kPatienceMs) == 0) return false;
  }
  return true;
}

// A lost wake-up shows as a poll(2) that runs out: both ends sleep although a frame is under way.
TEST_P(Frames, NoWakeUpIsLost) {
  constexpr std::uint64_t kRounds = 10'000;
  open_link();
  if (left().wake_fd() < 0) GTEST_SKIP() << plugin().version << " can only be polled here";
  if (is_self_only()) {
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      ASSERT_EQ(left().arm(), LOCKSTEP_OK) << "nothing is there, so it has to let us sleep";
      ASSERT_EQ(left().post(0, numbered_frame(round, 16)), LOCKSTEP_OK);
      pollfd descriptor{left().wake_fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&descriptor, 1, 0), 1) << "round " << round;
      ASSERT_EQ(left().poll(), 1u);
    }
    return;
  }
  std::array<std::size_t, 2> sleeps{};
  std::atomic<bool> has_failed = false;
  const auto play = [&](Instance& me, Instance& other, bool is_first) {
    std::uint64_t heard = 0;  // rounds whose frame has arrived; a repetition is no news
    me.on_frame([&](const Bytes& frame) { heard = std::max(heard, number_of(frame) + 1); });
    for (std::uint64_t round = 0; round < kRounds && !has_failed; ++round) {
      const Bytes frame = numbered_frame(round, 16);
      if (is_first && me.post(other.rank(), frame) != LOCKSTEP_OK) has_failed = true;
      while (heard <= round && !has_failed) {
        if (!sleep_until_handed_over(me, sleeps[is_first])) has_failed = true;
      }
      if (!is_first && me.post(other.rank(), frame) != LOCKSTEP_OK) has_failed = true;
    }
  };
  std::thread second(play, std::ref(right()), std::ref(left()), false);
  play(left(), right(), true);
  second.join();
  EXPECT_FALSE(has_failed) << "slept " << sleeps[0] << " and " << sleeps[1] << " times";
  EXPECT_GT(sleeps[0] + sleeps[1], 0u) << "arm never let anyone sleep";
}

TEST_P(Frames, CloseSendsWhatIsQueued) {
  constexpr std::size_t kFrames = 20;
  open_link();
  if (is_self_only()) GTEST_SKIP() << "nobody is left to receive";
  Checklist checklist(kFrames);
  right().on_frame([&](const Bytes& frame) { checklist.tick_off(frame); });
  std::atomic<bool> is_closed = false;
  std::thread receiver([&] {
    while (!is_closed) right().poll();
  });
  for (std::uint64_t number = 0; number < kFrames; ++number) {
    const Bytes frame = numbered_frame(number, LOCKSTEP_FRAME_MAX);
    while (left().post(right().rank(), frame) == LOCKSTEP_AGAIN) left().poll();
  }
  left().close();
  is_closed = true;
  receiver.join();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!checklist.is_complete() && std::chrono::steady_clock::now() < deadline) right().poll();
  EXPECT_TRUE(checklist.is_complete()) << checklist.missing() << " frames are missing";
}

INSTANTIATE_TEST_SUITE_P(Plugin, Frames, testing::ValuesIn(candidates()));

}  // namespace
}  // namespace lockstep::conformance
