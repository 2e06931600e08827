// Rounds among real threads: nobody leaves before everybody has entered, with everybody's bits.
// Method: every member notes the time before it arrives and after it is released, on one clock; the
// smallest exit must not be below the largest entry. Sleeps have no limit, so a lost wake-up hangs
// and the alarm ends the test.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "runtime/node/local_group.hpp"
#include "runtime/node/wait.hpp"
#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

constexpr Nanos kForEver = 3600 * kSecond;

/// Ends the process if the test does not end.
class Alarm {
 public:
  Alarm() { alarm(120); }
  ~Alarm() { alarm(0); }
};

struct Course {
  std::vector<std::uint32_t> domain_of;
  WaitPolicy policy;
  Epoch rounds;
  bool has_vectors = false;
  bool may_help = false;  ///< members finish a round whose leader is away, as in the runtime
  Nanos sleep_limit = kForEver;
};

struct Times {
  Nanos entry;
  Nanos exit;
};

/// One run of a course; every member is a thread.
class Trial {
 public:
  explicit Trial(const Course& course)
      : course_(course),
        group_(course.domain_of),
        times_(group_.size(), std::vector<Times>(course.rounds + 1)) {
    std::vector<std::thread> threads;
    for (std::uint32_t member = 0; member < group_.size(); ++member) {
      threads.emplace_back([this, member] { play(member); });
    }
    for (std::thread& thread : threads) thread.join();
  }

  void expect_barriers() const {
    for (Epoch epoch = 1; epoch <= course_.rounds; ++epoch) {
      Nanos last_entry = 0;
      Nanos first_exit = kNever;
      for (const auto& mine : times_) {
        last_entry = std::max(last_entry, mine[epoch].entry);
        first_exit = std::min(first_exit, mine[epoch].exit);
      }
      ASSERT_GE(first_exit, last_entry) << "epoch " << epoch;
    }
    EXPECT_EQ(wrong_results_.load(), 0u);
    EXPECT_EQ(releases_.load(), course_.rounds) << "every epoch is ended once";
  }

 private:
  /// The bits of one member differ from round to round.
  static std::uint64_t word_of(std::uint32_t member, Epoch epoch) {
    return (member + epoch) % 3 != 0 ? std::uint64_t{1} << member : 0;
  }
  std::size_t length_of(Epoch epoch) const { return course_.has_vectors ? epoch % 5 * 50 : 0; }

  void fill(std::uint32_t member, Epoch epoch, std::vector<std::byte>& vector) const {
    vector.assign(length_of(epoch), std::byte{0});
    if (word_of(member, epoch) != 0 && member < vector.size()) vector[member] = std::byte{1};
  }

  void finish(LocalGroup& me, Epoch epoch) {
    if (!me.claim(epoch)) return;
    Words combined;
    if (me.combine(combined)) ++wrong_results_;
    ++releases_;
    me.release(epoch, combined);
  }

  void step(LocalGroup& me, Epoch epoch) {
    if (me.is_leader()) {
      if (me.is_gathered(epoch) && !me.is_released(epoch)) finish(me, epoch);
    } else {
      me.gather(epoch);
    }
  }

  void wait(LocalGroup& me, Epoch epoch) {
    Ladder ladder(course_.policy);
    const auto ready = [&]() noexcept {
      step(me, epoch);
      return me.is_released(epoch);
    };
    while (ladder.climb(me.bell(), ready, course_.sleep_limit) != Waited::ready) {
      if (course_.may_help && !me.is_leader() && me.has_everybody(epoch)) finish(me, epoch);
    }
  }

  void check(LocalGroup& me, Epoch epoch) {
    std::uint64_t word = 0;
    std::vector<std::byte> vector(length_of(epoch));
    std::vector<std::byte> one;
    for (std::uint32_t member = 0; member < group_.size(); ++member) {
      word |= word_of(member, epoch);
      fill(member, epoch, one);
      for (std::size_t i = 0; i < vector.size(); ++i) vector[i] |= one[i];
    }
    const Words result = me.result();
    const bool is_right =
        result.word == word &&
        std::equal(result.vector.begin(), result.vector.end(), vector.begin(), vector.end());
    if (!is_right) ++wrong_results_;
  }

  void play(std::uint32_t member) {
    LocalGroup& me = group_[member];
    std::minstd_rand random(member + 1);
    std::vector<std::byte> vector;
    for (Epoch epoch = 1; epoch <= course_.rounds; ++epoch) {
      idle(random() % 300);
      fill(member, epoch, vector);
      times_[member][epoch].entry = now();
      me.arrive(epoch, {{word_of(member, epoch), vector}, 11, 1});
      idle(random() % 300);  // away between arrive and wait
      if (random() % 50 == 0) std::this_thread::yield();
      wait(me, epoch);
      times_[member][epoch].exit = now();
      check(me, epoch);
    }
  }

  static void idle(std::uint64_t turns) {
    for (std::uint64_t i = 0; i < turns; ++i) pause_core();
  }

  Course course_;
  TestGroup group_;
  std::vector<std::vector<Times>> times_;
  std::atomic<std::uint64_t> wrong_results_{0};
  std::atomic<std::uint64_t> releases_{0};
};

constexpr WaitPolicy kSleeper{.spin = 0, .yield = 0};
constexpr WaitPolicy kYielder{.spin = 0, .yield = kMillisecond};
constexpr WaitPolicy kSpinner{.spin = 20 * kMicrosecond, .yield = 100 * kMicrosecond};

TEST(ThreadRounds, AreBarriersOnEveryRungOfTheLadder) {
  const Alarm alarm;
  for (const WaitPolicy& policy : {kSleeper, kYielder, kSpinner}) {
    for (const std::uint32_t members : {1u, 2u, 3u, 8u}) {
      const Trial trial({.domain_of = dealt(members, 1), .policy = policy, .rounds = 1'500});
      trial.expect_barriers();
    }
  }
}

TEST(ThreadRounds, AreBarriersAcrossDomains) {
  const Alarm alarm;
  for (const WaitPolicy& policy : {kSleeper, kYielder}) {
    for (const std::uint32_t domains : {2u, 3u, 6u}) {
      const Trial trial({.domain_of = dealt(6, domains), .policy = policy, .rounds = 1'500});
      trial.expect_barriers();
    }
  }
}

TEST(ThreadRounds, CombineVectorsAcrossDomains) {
  const Alarm alarm;
  const Trial trial(
      {.domain_of = dealt(6, 2), .policy = kYielder, .rounds = 1'500, .has_vectors = true});
  trial.expect_barriers();
}

TEST(ThreadRounds, MayBeFinishedByAnybody) {
  const Alarm alarm;
  for (const std::uint32_t domains : {1u, 3u}) {
    const Trial trial({.domain_of = dealt(6, domains),
                       .policy = kSleeper,
                       .rounds = 1'500,
                       .may_help = true,
                       .sleep_limit = kMillisecond});
    trial.expect_barriers();
  }
}

TEST(ThreadRounds, WaitForALateMember) {
  const Alarm alarm;
  TestGroup group({0, 0, 1});
  std::atomic<bool> has_entered{false};
  std::atomic<int> early{0};
  std::vector<std::thread> threads;
  for (const std::uint32_t member : {0u, 1u}) {
    threads.emplace_back([&, member] {
      LocalGroup& me = group[member];
      me.arrive(1, {{1, {}}, 11, 1});
      Ladder ladder(kSleeper);
      const auto ready = [&]() noexcept {
        if (me.is_leader() && me.is_gathered(1) && me.claim(1)) me.release(1, {3, {}});
        return me.is_released(1);
      };
      while (ladder.climb(me.bell(), ready, kForEver) != Waited::ready) {
      }
      if (!has_entered.load()) ++early;
    });
  }
  // Both sleep by now or soon; either way neither may go before the flag is up.
  while (group.block().gathers[0].bell.sleepers.load() == 0 ||
         group.block().releases[0].bell.sleepers.load() == 0) {
    std::this_thread::yield();
  }
  has_entered.store(true);
  group[2].arrive(1, {{2, {}}, 11, 1});
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(early.load(), 0);
}

TEST(ThreadClaims, HaveOneWinnerPerEpoch) {
  const Alarm alarm;
  constexpr std::uint32_t kMembers = 4;
  constexpr Epoch kEpochs = 2'000;
  TestGroup group(dealt(kMembers, 1));
  std::vector<std::atomic<int>> winners(kEpochs + 1);
  std::vector<std::thread> threads;
  for (std::uint32_t member = 0; member < kMembers; ++member) {
    threads.emplace_back([&, member] {
      for (Epoch epoch = 1; epoch <= kEpochs; ++epoch) {
        if (group[member].claim(epoch)) ++winners[epoch];
        while (winners[epoch].load() == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Epoch epoch = 1; epoch <= kEpochs; ++epoch) ASSERT_EQ(winners[epoch].load(), 1);
}

TEST(ThreadBreak, WakesEverybodyAndShowsTheWholeVerdict) {
  const Alarm alarm;
  for (int turn = 0; turn < 300; ++turn) {
    TestGroup group({0, 0, 1, 1});
    const std::string text(100, 'v');
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::uint32_t member = 0; member < 3; ++member) {
      threads.emplace_back([&, member] {
        LocalGroup& me = group[member];
        me.arrive(1, {{0, {}}, 11, 1});
        Ladder ladder(kSleeper);
        const auto ready = [&]() noexcept { return me.is_broken(); };
        while (ladder.climb(me.bell(), ready, kForEver) != Waited::ready) {
        }
        const auto verdict = me.verdict();
        if (verdict.size() != text.size() ||
            std::memcmp(verdict.data(), text.data(), text.size()) != 0) {
          ++wrong;
        }
      });
    }
    ASSERT_TRUE(group[3].claim(1));
    group[3].break_with(std::as_bytes(std::span(text)));
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(wrong.load(), 0);
  }
}

TEST(ThreadSections, AnOutcomeWakesWhoWaitsForIt) {
  const Alarm alarm;
  TestGroup group({0, 0});
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> seen{0};
  std::thread follower([&] {
    for (std::uint64_t section = 1; section <= 2'000; ++section) {
      Ladder ladder(kSleeper);
      const auto ready = [&]() noexcept { return group[1].sections().is_released({section, 0}); };
      while (ladder.climb(group[1].section_bell(), ready, kForEver) != Waited::ready) {
      }
      const auto record = group[1].sections().find({section, 0});
      if (!record || record->text != std::to_string(section)) ++wrong;
      seen.store(section);
    }
  });
  for (std::uint64_t section = 1; section <= 2'000; ++section) {
    // A first may run ahead of its followers, but not round the ring.
    while (seen.load() + kSectionSlots <= section) std::this_thread::yield();
    group[0].sections().keep({section, 0}, std::to_string(section), false, nullptr);
    group[0].sections().release({section, 0});
    group[0].ring_sections();
  }
  follower.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace lockstep::node
