// The ring of outcomes: one writer per attempt, whole records, and writers that are killed.
#include "runtime/node/section_ring.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

bool nobody(std::uint32_t) {
  return false;
}

TEST(SectionRing, KeepsTheLastSections) {
  TestGroup group({0, 0});
  SectionRing& writer = group[0].sections();
  const SectionRing& reader = group[1].sections();
  for (std::uint64_t section = 1; section <= 3 * kSectionSlots; ++section) {
    const Attempt attempt{section, 0};
    EXPECT_FALSE(reader.find(attempt));
    EXPECT_TRUE(writer.keep(attempt, "outcome " + std::to_string(section), false, nobody));
    EXPECT_FALSE(reader.is_released(attempt));
    writer.release(attempt);
    const std::uint64_t oldest = section < kSectionSlots ? 1 : section - kSectionSlots + 1;
    for (std::uint64_t known = oldest; known <= section; ++known) {
      ASSERT_TRUE(reader.is_released({known, 0}));
      ASSERT_EQ(reader.find({known, 0})->text, "outcome " + std::to_string(known));
    }
    EXPECT_EQ(reader.all().size(), section - oldest + 1);
    EXPECT_EQ(reader.all().front().attempt.section, oldest);
  }
}

TEST(SectionRing, CutsWhatIsTooLong) {
  TestGroup group({0});
  group[0].sections().keep({1, 0}, std::string(5000, 'x'), false, nobody);
  EXPECT_EQ(group[0].sections().find({1, 0})->text, std::string(kOutcomeMax, 'x'));
  EXPECT_FALSE(group[0].sections().find({2, 0}));
}

TEST(SectionRing, ALaterAttemptReplacesAnEarlierOneAndNeverTheOtherWayRound) {
  TestGroup group({0, 0});
  SectionRing& ring = group[0].sections();
  EXPECT_TRUE(ring.keep({7, 1}, "second", false, nobody));
  ring.release({7, 1});
  EXPECT_FALSE(ring.keep({7, 0}, "first", false, nobody));
  EXPECT_FALSE(ring.keep({7, 1}, "again", false, nobody));
  EXPECT_FALSE(ring.keep({7, 1}, "again", true, nobody)) << "somebody may have read it";
  EXPECT_EQ(group[1].sections().find({7, 0})->text, "second");
  EXPECT_EQ(group[1].sections().find({7, 0})->attempt, (Attempt{7, 1}));
  EXPECT_TRUE(group[1].sections().is_released({7, 0}));
  EXPECT_FALSE(group[1].sections().is_released({7, 2}));
  EXPECT_FALSE(group[1].sections().find({7, 2}));
  EXPECT_TRUE(ring.keep({7, 2}, "third", false, nobody));
  EXPECT_FALSE(ring.is_released({7, 2}));
  ring.release({7, 1});
  EXPECT_FALSE(ring.is_released({7, 2})) << "that attempt is over";
}

TEST(SectionRing, WhatNobodyCouldReadCanBeReplacedByADecision) {
  TestGroup group({0, 0});
  EXPECT_TRUE(group[1].sections().keep({3, 0}, "it went well", false, nobody));
  EXPECT_FALSE(group[0].sections().keep({3, 0}, "it died", false, nobody));
  EXPECT_TRUE(group[0].sections().keep({3, 0}, "it died", true, nobody));
  EXPECT_EQ(group[1].sections().find({3, 0})->text, "it died");
}

TEST(SectionRing, OnlyADeadWriterIsReplaced) {
  TestGroup group({0, 0, 0});
  group.block().sections[4].claim.store(Attempt{4, 0}.packed() << 16 | 2);  // and then nothing
  EXPECT_FALSE(group[0].sections().keep({4, 0}, "mine", false, nobody));
  EXPECT_TRUE(group[0].sections().keep({4, 0}, "mine", false,
                                       [](std::uint32_t member) { return member == 2; }));
  EXPECT_EQ(group[1].sections().find({4, 0})->text, "mine");
}

TEST(SectionRing, OfManyWritersOneWinsAndReadersSeeItWhole) {
  TestGroup group({0, 0, 0, 0});
  for (std::uint64_t section = 1; section <= 500; ++section) {
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (std::uint32_t self = 0; self < 3; ++self) {
      threads.emplace_back([&, self] {
        const std::string text(900, static_cast<char>('a' + self));
        if (!group[self].sections().keep({section, 0}, text, false, nobody)) return;
        ++winners;
        group[self].sections().release({section, 0});
      });
    }
    while (!group[3].sections().is_released({section, 0})) std::this_thread::yield();
    const std::string text = group[3].sections().find({section, 0})->text;
    EXPECT_EQ(text, std::string(900, text.front()));
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(winners.load(), 1);
  }
}

/// A writer is killed at a random moment; who comes after it finds its record whole, or writes its
/// own. Half a record is never seen.
TEST(SectionRing, SurvivesWritersThatAreKilled) {
  TestGroup group({0, 0});
  std::mt19937 random(7);
  int from_the_dead = 0;
  constexpr int kRuns = 300;
  for (int run = 0; run < kRuns; ++run) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::uint64_t section = 1 + 10'000u * static_cast<std::uint64_t>(run);; ++section) {
        group[1].sections().keep(
            {section, 0}, std::string(990, static_cast<char>('a' + section % 26)), false, nobody);
        group[1].sections().release({section, 0});
      }
    }
    usleep(std::uniform_int_distribution<useconds_t>(0, 2'000)(random));
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    // The slot that it was at, and all others, take the next attempt of their section.
    for (SectionSlot& slot : group.block().sections) {
      const Attempt attempt = Attempt::unpacked(slot.claim.load() >> 16);
      if (attempt.section == 0) continue;
      const bool is_mine = group[0].sections().keep(
          attempt, std::string(990, '0'), false, [](std::uint32_t member) { return member == 1; });
      const auto record = group[0].sections().find(attempt);
      ASSERT_TRUE(record);
      const char expected = is_mine ? '0' : static_cast<char>('a' + attempt.section % 26);
      if (!is_mine && record->text.front() == '0') continue;  // of an earlier run
      ASSERT_EQ(record->text, std::string(990, expected)) << attempt.section;
      from_the_dead += is_mine ? 0 : 1;
    }
  }
  EXPECT_GT(from_the_dead, 0);
}

}  // namespace
}  // namespace lockstep::node
