// A round on one node, step by step: who is waited for, what is combined, who may end it.
// Method: one thread plays all members in a chosen order, so that every interleaving here is exact.
// round_test.cpp has real threads.
#include "runtime/node/local_group.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

constexpr std::uint32_t kSignature = 11;

Arrival arrival(std::uint64_t word, std::uint32_t signature = kSignature) {
  return {{word, {}}, signature, 1};
}

/// What the leader does when it finds its round gathered.
void finish(LocalGroup& member, Epoch epoch) {
  ASSERT_TRUE(member.claim(epoch));
  Words combined;
  ASSERT_EQ(member.combine(combined), std::nullopt);
  member.release(epoch, combined);
}

std::vector<std::uint32_t> in_order(std::uint32_t members) {
  std::vector<std::uint32_t> order(members);
  for (std::uint32_t i = 0; i < members; ++i) order[i] = i;
  return order;
}

const std::vector<std::vector<std::uint32_t>>& shapes() {
  static const std::vector<std::vector<std::uint32_t>> all = {
      {0}, {0, 0}, {0, 1}, {0, 0, 1, 1}, {0, 1, 0, 1}, {0, 1, 2}, {0, 0, 0, 1, 1, 2}};
  return all;
}

TEST(LocalRound, IsGatheredWhenTheLastHasCome) {
  for (const auto& domain_of : shapes()) {
    std::vector<std::uint32_t> order = in_order(static_cast<std::uint32_t>(domain_of.size()));
    do {
      TestGroup group(domain_of);
      for (std::size_t i = 0; i < order.size(); ++i) {
        EXPECT_FALSE(group[0].is_gathered(1));
        EXPECT_FALSE(group[0].has_everybody(1));
        group[order[i]].arrive(1, arrival(std::uint64_t{1} << order[i]));
      }
      EXPECT_TRUE(group[0].has_everybody(1));
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        EXPECT_FALSE(group[member].is_released(1));
        group[member].gather(1);
      }
      EXPECT_TRUE(group[0].is_gathered(1));
      finish(group[0], 1);
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        EXPECT_TRUE(group[member].is_released(1));
        EXPECT_FALSE(group[member].is_released(2));
        EXPECT_EQ(group[member].result().word, (std::uint64_t{1} << group.size()) - 1);
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST(LocalRound, StartsWithoutTheBitsOfTheLast) {
  for (const auto& domain_of : shapes()) {
    TestGroup group(domain_of);
    for (Epoch epoch = 1; epoch <= 5; ++epoch) {
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        group[member].arrive(epoch, arrival(std::uint64_t{1} << epoch));
      }
      for (std::uint32_t member = 0; member < group.size(); ++member) group[member].gather(epoch);
      ASSERT_TRUE(group[0].is_gathered(epoch));
      finish(group[0], epoch);
      EXPECT_EQ(group[group.size() - 1].result().word, std::uint64_t{1} << epoch);
    }
  }
}

TEST(LocalRound, CombinesVectorsOfEveryLength) {
  for (const auto& domain_of : shapes()) {
    TestGroup group(domain_of);
    Epoch epoch = 0;
    for (const std::size_t length :
         {std::size_t{1}, std::size_t{64}, std::size_t{LOCKSTEP_VECTOR_MAX}, std::size_t{3},
          std::size_t{0}}) {
      ++epoch;
      std::vector<std::byte> expected(length);
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        std::vector<std::byte> mine(length);
        for (std::size_t i = member; i < length; i += group.size()) mine[i] = std::byte{0x55};
        for (std::size_t i = 0; i < length; ++i) expected[i] |= mine[i];
        group[member].arrive(epoch, {{member, mine}, kSignature, 1});
      }
      for (std::uint32_t member = 0; member < group.size(); ++member) group[member].gather(epoch);
      finish(group[0], epoch);
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        const Words result = group[member].result();
        EXPECT_TRUE(std::equal(result.vector.begin(), result.vector.end(), expected.begin(),
                               expected.end()));
      }
    }
  }
}

TEST(LocalRound, AResultFromOtherNodesReplacesItsOwn) {
  TestGroup group({0, 0});
  group[0].arrive(1, arrival(1));
  group[1].arrive(1, arrival(2));
  ASSERT_TRUE(group[0].claim(1));
  const std::array<std::byte, 3> theirs = {std::byte{7}, std::byte{8}, std::byte{9}};
  group[0].release(1, {0xff, theirs});
  EXPECT_EQ(group[1].result().word, 0xffu);
  EXPECT_TRUE(std::equal(theirs.begin(), theirs.end(), group[1].result().vector.begin()));
}

TEST(LocalRound, FindsTheFirstMemberInAnotherCall) {
  for (const auto& domain_of : shapes()) {
    for (std::uint32_t odd = 1; odd < domain_of.size(); ++odd) {
      TestGroup group(domain_of);
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        group[member].arrive(1, arrival(0, member == odd ? 99 : kSignature));
      }
      for (std::uint32_t member = 0; member < group.size(); ++member) group[member].gather(1);
      ASSERT_TRUE(group[0].is_gathered(1));
      Words combined;
      EXPECT_EQ(group[0].combine(combined), odd);
    }
  }
}

TEST(LocalRound, SaysWhoHasEnteredWhat) {
  TestGroup group({0, 0});
  group[1].arrive(1, arrival(0, 99));
  EXPECT_EQ(group[0].entered(0), 0u);
  EXPECT_EQ(group[0].entered(1), 1u);
  EXPECT_EQ(group[0].signature_of(1), 99u);
}

// -- the leader is away between arrive and wait: anybody may finish

TEST(Helper, FinishesARoundWhoseLeaderIsAway) {
  for (const auto& domain_of : shapes()) {
    if (domain_of.size() < 2) continue;
    TestGroup group(domain_of);
    for (Epoch epoch = 1; epoch <= 3; ++epoch) {
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        group[member].arrive(epoch, arrival(std::uint64_t{1} << member << epoch));
      }
      const auto helper = static_cast<std::uint32_t>(epoch) % (group.size() - 1) + 1;
      ASSERT_TRUE(group[helper].has_everybody(epoch));
      finish(group[helper], epoch);
      for (std::uint32_t member = 0; member < group.size(); ++member) {
        EXPECT_TRUE(group[member].is_released(epoch));
        EXPECT_EQ(group[member].result().word, ((std::uint64_t{1} << group.size()) - 1) << epoch);
      }
      EXPECT_FALSE(group[0].claim(epoch)) << "the leader comes back to a finished round";
    }
  }
}

TEST(Helper, SeesAMemberInAnotherCall) {
  TestGroup group({0, 0, 1, 1});
  for (std::uint32_t member = 0; member < 4; ++member) {
    group[member].arrive(1, arrival(0, member == 3 ? 99 : kSignature));
  }
  Words combined;
  EXPECT_EQ(group[1].combine(combined), 3u);
}

// The leader itself may be the helper: it sees every cell before another domain's leader, which is
// away, has passed its members' words on.
TEST(Helper, TheLeaderDoesNotNeedTheOtherDomainsLeaders) {
  TestGroup group({0, 0, 1, 1});
  for (Epoch epoch = 1; epoch <= 2; ++epoch) {
    group[2].arrive(
        epoch, arrival(std::uint64_t{4} << epoch));  // leads domain 1, and comes before its member
    group[3].arrive(epoch, arrival(std::uint64_t{8} << epoch));
    group[1].arrive(epoch, arrival(std::uint64_t{2} << epoch));
    group[0].arrive(epoch, arrival(std::uint64_t{1} << epoch));
    ASSERT_TRUE(group[0].has_everybody(epoch));
    finish(group[0], epoch);
    EXPECT_EQ(group[1].result().word, std::uint64_t{15} << epoch);
  }
}

TEST(Claim, IsGivenOncePerEpoch) {
  TestGroup group({0, 0});
  EXPECT_TRUE(group[0].claim(1));
  EXPECT_FALSE(group[0].claim(1));
  EXPECT_FALSE(group[1].claim(1));
  EXPECT_FALSE(group[1].claim(3)) << "epoch 2 has not ended";
  EXPECT_TRUE(group[1].claim(2));
}

// -- reports

TEST(LocalGroup, TellsEverybodyWhyItIsBroken) {
  TestGroup group({0, 1});
  EXPECT_FALSE(group[1].is_broken());
  const std::string text = "somebody is missing";
  group[0].break_with(std::as_bytes(std::span(text)));
  for (std::uint32_t member = 0; member < 2; ++member) {
    EXPECT_TRUE(group[member].is_broken());
    const auto verdict = group[member].verdict();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(verdict.data()), verdict.size()), text);
    EXPECT_FALSE(group[member].is_released(1));
  }
}

TEST(LocalGroup, CutsAVerdictThatIsTooLong) {
  TestGroup group({0});
  const std::vector<std::byte> verdict(2 * kVerdictRoom, std::byte{1});
  group[0].break_with(verdict);
  EXPECT_EQ(group[0].verdict().size(), kVerdictRoom);
  EXPECT_EQ(group[0].entered(0), 0u) << "nothing behind the verdict is touched";
}

TEST(LocalGroup, SaysWhereItsMembersAre) {
  TestGroup group({0, 0});
  EXPECT_FALSE(group[1].is_announced(7));
  group[1].announce(7, "a.cpp:1 wait_for_everyone");
  EXPECT_TRUE(group[1].is_announced(7));
  EXPECT_FALSE(group[1].is_announced(8));
  EXPECT_EQ(group[0].site_of(1), "a.cpp:1 wait_for_everyone");
  EXPECT_EQ(group[0].site_of(0), "");
}

TEST(LocalGroup, RemembersDeadlinesAndDepartures) {
  TestGroup group({0, 1, 1});
  EXPECT_EQ(group[0].expired(), 0u);
  group[2].expire(4);
  EXPECT_EQ(group[0].expired(), 4u);
  EXPECT_FALSE(group[0].has_left(1));
  group[1].leave();
  EXPECT_TRUE(group[0].has_left(1));
  EXPECT_FALSE(group[0].has_left(2));
}

TEST(LocalGroup, PassesOnInquiriesToItsSpeaker) {
  TestGroup group({0, 0, 0});
  EXPECT_FALSE(group[0].take_inquiry());
  group[1].ask({{5, 2}, 4711, true, false, true});
  group[2].ask({{5, 3}, 4711, false, true, false});
  const auto inquiry = group[0].take_inquiry();
  ASSERT_TRUE(inquiry);
  EXPECT_EQ(inquiry->attempt, (Attempt{5, 3})) << "the last one counts; the others ask again";
  EXPECT_EQ(inquiry->signature, 4711u);
  EXPECT_FALSE(inquiry->retries);
  EXPECT_TRUE(inquiry->is_gone);
  EXPECT_FALSE(inquiry->takes_turn);
  EXPECT_FALSE(group[0].take_inquiry());
  EXPECT_FALSE(group[2].has_turn({5, 3}));
  group[0].grant_turn({5, 3});
  EXPECT_TRUE(group[2].has_turn({5, 3}));
  EXPECT_FALSE(group[2].has_turn({5, 4}));
}

TEST(LocalGroup, HasOneSpeakerAtATime) {
  TestGroup group({0, 0, 0});
  EXPECT_EQ(group[2].speaker(), 0u);
  EXPECT_TRUE(group[2].replace_speaker(0));
  EXPECT_FALSE(group[1].replace_speaker(0)) << "2 is it already";
  EXPECT_EQ(group[1].speaker(), 2u);
  EXPECT_TRUE(group[1].replace_speaker(2));
  EXPECT_EQ(group[0].speaker(), 1u);
  EXPECT_EQ(group[0].published(), 0u);
  group[2].note_published();
  EXPECT_EQ(group[0].published(), 1u);
}

}  // namespace
}  // namespace lockstep::node
