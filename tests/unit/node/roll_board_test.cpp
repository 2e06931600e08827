// Marks of a roll call: who is here and who is missing is decided once, and all see the same.
#include "runtime/node/roll_board.hpp"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

RollBoard& board(TestGroup& group, std::uint32_t member) {
  return group[member].rolls();
}

TEST(RollBoard, IsDecidedWhenAllHaveComeOrAreMissed) {
  TestGroup group({0, 0, 0});
  EXPECT_TRUE(board(group, 0).come(1));
  EXPECT_TRUE(board(group, 1).come(1));
  EXPECT_TRUE(board(group, 1).come(1)) << "asked again";
  EXPECT_FALSE(board(group, 0).is_complete(1));
  EXPECT_FALSE(board(group, 0).is_decided(2, 1));
  board(group, 0).miss(2, 1);
  EXPECT_TRUE(board(group, 1).is_complete(1));
  EXPECT_TRUE(board(group, 1).has_come(0, 1));
  EXPECT_FALSE(board(group, 1).has_come(2, 1));
}

TEST(RollBoard, WhoHasComeCannotBeMissed) {
  TestGroup group({0, 0});
  EXPECT_TRUE(board(group, 1).come(1));
  board(group, 0).miss(1, 1);
  EXPECT_TRUE(board(group, 0).has_come(1, 1));
}

TEST(RollBoard, WhoIsMissingStaysSo) {
  TestGroup group({0, 0});
  board(group, 0).miss(1, 1);
  EXPECT_FALSE(board(group, 1).come(1));
  EXPECT_FALSE(board(group, 1).come(2)) << "nor in a later roll call";
  EXPECT_TRUE(board(group, 0).come(2));
  EXPECT_TRUE(board(group, 0).is_complete(2)) << "which does not wait for it";
  EXPECT_FALSE(board(group, 0).has_come(1, 2));
}

TEST(RollBoard, ALaterRollCallAsksAgainWhoIsHere) {
  TestGroup group({0, 0});
  board(group, 0).come(1);
  board(group, 1).come(1);
  EXPECT_TRUE(board(group, 0).come(2));
  EXPECT_FALSE(board(group, 0).is_complete(2));
  EXPECT_TRUE(board(group, 0).is_called_after(1));
  EXPECT_FALSE(board(group, 0).is_called_after(2));
  board(group, 0).miss(1, 2);
  EXPECT_TRUE(board(group, 1).is_complete(2));
}

TEST(RollBoard, WhoIsMissedHasNotCalled) {
  TestGroup group({0, 0});
  board(group, 0).miss(1, 3);
  EXPECT_FALSE(board(group, 0).is_called_after(0));
  board(group, 0).come(1);
  EXPECT_TRUE(board(group, 0).is_called_after(0));
}

TEST(RollBoard, HurryHoldsForItsRollCallAndEarlierOnes) {
  TestGroup group({0, 0});
  EXPECT_FALSE(board(group, 1).is_hurried(1));
  board(group, 0).hurry(2);
  board(group, 0).hurry(1);
  EXPECT_TRUE(board(group, 1).is_hurried(2));
  EXPECT_FALSE(board(group, 1).is_hurried(3));
}

TEST(RollBoard, HasOneHeir) {
  TestGroup group({0, 0});
  EXPECT_EQ(board(group, 0).heir(1), std::nullopt);
  EXPECT_TRUE(board(group, 0).offer_heir(1, 7));
  EXPECT_FALSE(board(group, 1).offer_heir(1, 8));
  EXPECT_EQ(board(group, 1).heir(1), 7u);
  EXPECT_EQ(board(group, 1).heir(2), std::nullopt);
  EXPECT_TRUE(board(group, 1).offer_heir(2, 0));
  EXPECT_EQ(board(group, 0).heir(2), 0u);
}

TEST(RollBoard, KeepsWhatWasCommitted) {
  TestGroup group({0, 0});
  EXPECT_EQ(board(group, 0).agreement(), 0u);
  board(group, 0).promise(5);
  RankSet missing;
  for (std::uint32_t i = 0; i < kRollRanges; ++i) missing.append(3 * i);
  board(group, 0).commit(1, missing);
  EXPECT_EQ(board(group, 1).agreement(), 1u);
  EXPECT_EQ(board(group, 1).promise(), 5u);
  EXPECT_EQ(board(group, 1).missing().ranges(), missing.ranges());
  board(group, 1).commit(2, RankSet({{4, 2}}));
  EXPECT_EQ(board(group, 0).missing().text(), "4-5");
}

/// Whoever comes while it is missed: both sides see the same.
TEST(RollBoard, OneOfTwoThatRaceWins) {
  TestGroup group({0, 0, 0});
  constexpr std::uint64_t kCalls = 20'000;
  std::vector<bool> was_in_time(kCalls + 1, false);
  std::atomic<std::uint64_t> turn = 0;
  std::atomic<std::uint64_t> done = 0;
  // A new group each time, since who is missing stays so.
  std::vector<std::atomic<std::uint64_t>> marks(kCalls + 1);
  std::vector<RollState> states(1);
  std::thread other([&] {
    for (std::uint64_t call = 1; call <= kCalls; ++call) {
      while (turn.load() != call) {
      }
      RollBoard mine(states[0], std::span(&marks[call], 1), 0);
      was_in_time[call] = mine.come(call);
      done = call;
    }
  });
  std::uint64_t missed = 0;
  for (std::uint64_t call = 1; call <= kCalls; ++call) {
    RollBoard mine(states[0], std::span(&marks[call], 1), 0);
    turn = call;
    mine.miss(0, call);
    const bool has_come = mine.has_come(0, call);
    while (done.load() != call) {
    }
    ASSERT_EQ(has_come, was_in_time[call]);
    ASSERT_EQ(mine.has_come(0, call), has_come) << "what was seen has changed";
    if (!has_come) ++missed;
  }
  other.join();
  EXPECT_GT(missed, 0u) << "no race";
}

}  // namespace
}  // namespace lockstep::node
