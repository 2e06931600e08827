// The word that polls look at: who may change it, and into what; and the handshake on real cores.
#include "runtime/node/poll_board.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

using Phase = PollBoard::Phase;

PollBoard& board(TestGroup& group, std::uint32_t member) {
  return group[member].polls();
}

TEST(PollBoard, IsQuietAfterTheFirstPollUntilSomethingIsWanted) {
  TestGroup group({0, 0});
  EXPECT_FALSE(board(group, 0).has_pollers());
  EXPECT_FALSE(board(group, 0).enter()) << "the first one looks";
  EXPECT_TRUE(board(group, 0).enter());
  EXPECT_TRUE(board(group, 1).has_pollers());
  board(group, 1).want();
  EXPECT_FALSE(board(group, 0).enter());
  EXPECT_EQ(board(group, 0).look().phase, Phase::wanted);
  EXPECT_EQ(board(group, 0).number(), 3u);
}

TEST(PollBoard, OneHoldsAndNamesThePollAfterTheFurthest) {
  TestGroup group({0, 0});
  for (int i = 0; i < 5; ++i) (void)board(group, 0).enter();
  (void)board(group, 1).enter();
  board(group, 1).want();
  const PollBoard::View seen = board(group, 0).look();
  EXPECT_TRUE(board(group, 0).try_hold(seen));
  EXPECT_FALSE(board(group, 1).try_hold(seen)) << "somebody was quicker";
  EXPECT_FALSE(board(group, 1).fire(9)) << "it does not hold";
  EXPECT_EQ(board(group, 1).look().holder, 0u);
  EXPECT_TRUE(board(group, 0).fire(board(group, 0).furthest() + 1));
  EXPECT_EQ(board(group, 1).look().phase, Phase::fires);
  EXPECT_EQ(board(group, 1).look().fire, 6u);
  EXPECT_FALSE(board(group, 1).look().is_wanted);
}

TEST(PollBoard, TheHoldOfADeadMemberIsTakenOver) {
  TestGroup group({0, 0, 0});
  board(group, 0).want();
  ASSERT_TRUE(board(group, 0).try_hold(board(group, 0).look()));
  const PollBoard::View seen = board(group, 1).look();
  EXPECT_TRUE(board(group, 1).try_hold(seen));
  EXPECT_FALSE(board(group, 2).try_hold(seen)) << "one successor";
  EXPECT_FALSE(board(group, 0).fire(1)) << "should it not be dead after all";
  EXPECT_TRUE(board(group, 1).fire(1));
}

TEST(PollBoard, WhatIsWantedMeanwhileStandsAfterTheMeeting) {
  TestGroup group({0, 0});
  board(group, 0).want();
  ASSERT_TRUE(board(group, 0).try_hold(board(group, 0).look()));
  board(group, 1).want();
  ASSERT_TRUE(board(group, 0).fire(4));
  EXPECT_TRUE(board(group, 1).look().is_wanted);
  board(group, 1).finish(3);
  EXPECT_EQ(board(group, 1).look().fire, 4u) << "that was another meeting";
  board(group, 1).finish(4);
  EXPECT_EQ(board(group, 0).look().phase, Phase::wanted);
  board(group, 0).finish(4);  // the second one of the node
  EXPECT_EQ(board(group, 0).look().phase, Phase::wanted);
}

TEST(PollBoard, AHoldForTheNextAgreementMayComeBeforeTheMeetingIsOverHere) {
  TestGroup group({0, 0});
  board(group, 0).hold(1);
  board(group, 0).commit(1, 7);
  EXPECT_EQ(board(group, 1).look().fire, 7u);
  board(group, 0).hold(2);
  board(group, 1).finish(7);
  EXPECT_EQ(board(group, 1).look().phase, Phase::held) << "and is not ended by the old meeting";
  EXPECT_EQ(board(group, 1).look().agreement, 2u);
}

TEST(PollBoard, ASpeakerThatDiesBetweenTheHalvesOfACommitIsRepaired) {
  TestGroup group({0, 0});
  board(group, 0).hold(1);
  PollState& common = *group.block().poll;
  common.fire[1].store(9);
  EXPECT_EQ(board(group, 1).agreed_fire(), 0u) << "of the agreement before";
  common.agreement.store(1);
  board(group, 1).repair();
  EXPECT_EQ(board(group, 1).look().fire, 9u);
  board(group, 1).hold(2);
  board(group, 1).repair();
  EXPECT_EQ(board(group, 1).look().phase, Phase::held) << "that one is not decided";
}

TEST(PollBoard, ABrokenGroupLetsNobodyPass) {
  TestGroup group({0, 0});
  (void)board(group, 0).enter();
  EXPECT_TRUE(board(group, 0).enter());
  group[1].break_with({});
  EXPECT_FALSE(board(group, 0).enter());
  board(group, 0).want();
  ASSERT_TRUE(board(group, 0).try_hold(board(group, 0).look()));
  board(group, 0).fire(3);
  board(group, 0).finish(3);
  EXPECT_FALSE(board(group, 0).enter()) << "whatever happens then";
}

/// Members poll as fast as they can and want meetings all the time; each is in the same poll for
/// all of them. Without the heavy fence in furthest() it fails within moments.
TEST(PollBoard, OnRealCoresAllMeetInTheSamePoll) {
  constexpr std::uint32_t kMembers = 2;  // as many as any machine has cores
  constexpr int kMeetings = 500;
  TestGroup group(std::vector<std::uint32_t>(kMembers, 0));
  const Barrier can = join_barrier();
  for (std::uint32_t member = 0; member < kMembers; ++member) {
    board(group, member).fence_with(AsymmetricFence::agree({&can, 1}));
  }
  std::vector<std::vector<std::uint64_t>> met(kMembers);
  std::atomic<std::uint32_t> here{0};
  std::vector<std::jthread> threads;
  for (std::uint32_t member = 0; member < kMembers; ++member) {
    threads.emplace_back([&, member] {
      PollBoard& self = board(group, member);
      for (std::uint32_t meeting = 1; meeting <= kMeetings;) {
        if (self.enter()) {
          if (member == 0 && self.number() % 64 == 0) self.want();
          continue;
        }
        PollBoard::View seen = self.look();
        for (; seen.phase == Phase::wanted || seen.phase == Phase::held; seen = self.look()) {
          if (seen.phase == Phase::wanted && self.try_hold(seen)) self.fire(self.furthest() + 1);
          if (seen.phase == Phase::held) std::this_thread::yield();
        }
        if (seen.phase != Phase::fires || seen.fire != self.number()) {
          // Beyond it: somebody has been let pass, and would never come.
          if (seen.phase == Phase::fires && seen.fire < self.number()) {
            std::fprintf(stderr, "in poll %llu, and all meet in %llu\n",
                         static_cast<unsigned long long>(self.number()),
                         static_cast<unsigned long long>(seen.fire));
            std::abort();
          }
          continue;
        }
        met[member].push_back(self.number());
        here.fetch_add(1);
        while (here.load() < meeting * kMembers) std::this_thread::yield();
        self.finish(seen.fire);
        ++meeting;
      }
    });
  }
  threads.clear();
  for (const auto& one : met) EXPECT_EQ(one, met[0]);
}

}  // namespace
}  // namespace lockstep::node
