// The wait ladder and its bells: whoever sleeps is woken, and nobody sleeps who should not.
// Method: sleeps without a limit, so that one lost wake-up among many thousands hangs the test,
// which an alarm then ends.
#include "runtime/node/wait.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

namespace lockstep::node {
namespace {

constexpr Nanos kForEver = 3600 * kSecond;

struct alignas(kLine) Line {
  std::atomic<std::uint64_t> value{0};
};
struct alignas(kLine) PaddedBell {
  Bell bell{};
};

/// Climbs until `value` is at least `wanted`, asleep as soon as the policy allows.
void wait_for(Bell& bell, const std::atomic<std::uint64_t>& value, std::uint64_t wanted) {
  Ladder ladder(WaitPolicy{.spin = 0, .yield = 0});
  const auto ready = [&]() noexcept { return value.load(std::memory_order_acquire) >= wanted; };
  while (ladder.climb(bell, ready, kForEver) != Waited::ready) {
  }
}

/// Spins until `value` is at least `wanted`; for meetings too tight for a system call.
void meet(const std::atomic<std::uint64_t>& value, std::uint64_t wanted) noexcept {
  for (int turn = 0; value.load(std::memory_order_acquire) < wanted; ++turn) {
    if (turn % 10'000 == 9'999) std::this_thread::yield();
  }
}

TEST(Bell, NoWakeUpIsLostBetweenTwo) {
  alarm(120);
  constexpr std::uint64_t kTurns = 60'000;
  std::array<Line, 2> lines;
  std::array<PaddedBell, 2> bells;
  // Each raises its own line, rings, and waits for the other's: one lost wake-up stops both.
  const auto play = [&](std::size_t self) {
    std::minstd_rand random(static_cast<std::uint32_t>(self + 1));
    for (std::uint64_t turn = 1; turn <= kTurns; ++turn) {
      for (std::uint64_t i = random() % 200; i > 0; --i) pause_core();
      lines[self].value.store(turn, std::memory_order_release);
      ring(bells[self].bell);
      wait_for(bells[1 - self].bell, lines[1 - self].value, turn);
    }
  };
  std::thread other([&] { play(1); });
  play(0);
  other.join();
  EXPECT_EQ(bells[0].bell.sleepers.load(), 0u);
  EXPECT_EQ(bells[1].bell.sleepers.load(), 0u);
  alarm(0);
}

// The two halves of the handshake against each other: of a ringer that stores and looks for
// sleepers, and a sleeper that says so and looks at the value, at least one must see the other.
// Without the fence in ring() a processor may do the ringer's look before its store.
TEST(Bell, EitherTheSleeperSeesTheValueOrTheRingerSeesTheSleeper) {
  alarm(120);
  constexpr std::uint64_t kTurns = 400'000;
  const Nanos limit = now() + 5 * kSecond;  // two threads on one core meet far less often
  Line value;
  Line started;
  Line rung;
  PaddedBell bell;
  std::thread ringer([&] {
    for (std::uint64_t turn = 1;; ++turn) {
      meet(started.value, turn);
      if (started.value.load() == UINT64_MAX) return;
      value.value.store(turn, std::memory_order_release);
      ring(bell.bell);
      rung.value.store(turn, std::memory_order_release);
    }
  });
  Ladder ladder(WaitPolicy{.spin = 0, .yield = 0});
  while (!ladder.is_sleeping())
    ladder.climb(
        bell.bell, []() noexcept { return false; }, 0);
  std::minstd_rand random(3);
  std::uint64_t lost = 0;
  for (std::uint64_t turn = 1; turn <= kTurns && now() < limit; ++turn) {
    const std::uint32_t before = bell.bell.value.load();
    started.value.store(turn, std::memory_order_release);
    for (std::uint32_t i = random() % 16; i > 0; --i) std::ignore = now();  // tens of nanoseconds
    const auto ready = [&]() noexcept {
      const bool has_seen = value.value.load(std::memory_order_acquire) >= turn;
      meet(rung.value, turn);  // it counts as a sleeper until the ringer has looked
      return has_seen;
    };
    const bool has_seen = ladder.climb(bell.bell, ready, 0) == Waited::ready;
    if (!has_seen && bell.bell.value.load() == before) ++lost;
  }
  started.value.store(UINT64_MAX);
  ringer.join();
  EXPECT_EQ(lost, 0u) << "wake-ups that nobody would have got";
  alarm(0);
}

TEST(Bell, WakesAllWhoSleep) {
  alarm(120);
  constexpr std::uint64_t kTurns = 3'000;
  constexpr int kSleepers = 5;
  Line line;
  PaddedBell bell;
  std::atomic<std::uint64_t> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kSleepers; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t turn = 1; turn <= kTurns; ++turn) {
        wait_for(bell.bell, line.value, turn);
        done.fetch_add(1);
      }
    });
  }
  for (std::uint64_t turn = 1; turn <= kTurns; ++turn) {
    line.value.store(turn, std::memory_order_release);
    ring(bell.bell);
    while (done.load() < turn * kSleepers) std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  alarm(0);
}

TEST(Bell, IsSilentWhenNobodySleeps) {
  Bell bell{};
  ring(bell);
  EXPECT_EQ(bell.value.load(), 0u) << "no system call, no write to the line";
  wake_all(bell);
  EXPECT_EQ(bell.value.load(), 1u);
}

TEST(SleepOn, ReturnsAtOnceWhenTheBellHasRung) {
  alarm(60);
  Bell bell{};
  bell.value.store(5);
  sleep_on(bell, 4, kForEver);
  sleep_on(bell, 5, 0);
  sleep_on(bell, 5, -kSecond);
  sleep_on(bell, 5, kMillisecond);
  alarm(0);
}

TEST(Ladder, SeesWhatIsReadyOnEveryRung) {
  Bell bell{};
  const auto yes = []() noexcept { return true; };
  const auto no = []() noexcept { return false; };
  for (const WaitPolicy& policy :
       {WaitPolicy{.spin = kNever}, WaitPolicy{.spin = 0, .yield = kNever},
        WaitPolicy{.spin = 0, .yield = 0}}) {
    Ladder ladder(policy);
    EXPECT_EQ(ladder.climb(bell, no, 1), Waited::look);
    EXPECT_EQ(ladder.climb(bell, yes, kForEver), Waited::ready);
    EXPECT_EQ(bell.sleepers.load(), 0u);
  }
}

TEST(Ladder, ClimbsFromSpinToSleep) {
  Bell bell{};
  const auto no = []() noexcept { return false; };
  Ladder ladder(WaitPolicy{.spin = kMicrosecond, .yield = kMicrosecond});
  EXPECT_FALSE(ladder.is_sleeping());
  while (!ladder.is_sleeping()) EXPECT_EQ(ladder.climb(bell, no, 1), Waited::look);
  EXPECT_EQ(ladder.climb(bell, no, 1), Waited::look);
  EXPECT_TRUE(ladder.is_sleeping());
}

TEST(Ladder, NeverSleepsWhenToldNeverTo) {
  Bell bell{};
  const auto no = []() noexcept { return false; };
  for (const WaitPolicy& policy :
       {WaitPolicy{.spin = kNever, .yield = 0}, WaitPolicy{.spin = 0, .yield = kNever}}) {
    Ladder ladder(policy);
    for (int i = 0; i < 1'000; ++i) ladder.climb(bell, no, 1);
    EXPECT_FALSE(ladder.is_sleeping());
  }
}

// LOCKSTEP_YIELD=never with the automatic spin: the sum of both must not wrap.
TEST(Ladder, NeverSleepsWhenItMayYieldForEverAfterSpinning) {
  Bell bell{};
  const auto no = []() noexcept { return false; };
  Ladder ladder(WaitPolicy{.spin = kMicrosecond, .yield = kNever});
  const Nanos start = now();
  while (now() < start + 100 * kMicrosecond) ladder.climb(bell, no, 1);
  ladder.climb(bell, no, 1);
  EXPECT_FALSE(ladder.is_sleeping());
}

}  // namespace
}  // namespace lockstep::node
