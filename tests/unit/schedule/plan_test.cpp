// Plans: verify() proves them for every small size and some large, and verify() itself can fail.
// Method: the second half damages proven plans in every way a builder could be wrong.
#include "runtime/schedule/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

namespace lockstep::schedule {
namespace {

using Builder = Plan (*)(NodeIndex, const Shape&);

std::vector<Plan> build(Builder builder, const Shape& shape) {
  std::vector<Plan> plans;
  for (NodeIndex self = 0; self < shape.size; ++self) plans.push_back(builder(self, shape));
  return plans;
}

std::size_t count_sends(const std::vector<Plan>& plans) {
  std::size_t sends = 0;
  for (const Plan& plan : plans) {
    sends += static_cast<std::size_t>(std::count_if(
        plan.begin(), plan.end(), [](const Step& step) { return step.kind == StepKind::send; }));
  }
  return sends;
}

std::size_t count_rounds(const std::vector<Plan>& plans) {
  std::set<std::uint16_t> rounds;
  for (const Plan& plan : plans) {
    for (const Step& step : plan) rounds.insert(step.round);
  }
  return rounds.size();
}

/// Smallest r with radix^r >= size, in whole numbers.
std::size_t ceil_log(std::uint64_t radix, std::uint64_t size) {
  std::size_t rounds = 0;
  for (std::uint64_t reach = 1; reach < size; reach *= radix) ++rounds;
  return rounds;
}

void expect_tree(const Shape& shape) {
  const std::vector<Plan> plans = build(tree, shape);
  ASSERT_EQ(verify(plans), "") << "tree(" << shape.radix << ") of " << shape.size;
  ASSERT_EQ(count_sends(plans), 2u * (shape.size - 1));
}

void expect_dissemination(const Shape& shape) {
  const std::vector<Plan> plans = build(dissemination, shape);
  ASSERT_EQ(verify(plans), "") << "dissemination(" << shape.radix << ") of " << shape.size;
  ASSERT_EQ(count_rounds(plans), ceil_log(shape.radix, shape.size));
}

constexpr std::uint32_t kEverySize = 300;
// Around powers of the radices, where the last round of a dissemination is full or nearly empty.
constexpr std::uint32_t kLargeSizes[] = {511,  512,  513,  625,  729, 1000,
                                         1023, 1024, 1025, 2047, 3000};

TEST(Tree, IsProvenForEverySizeWithTheFewestMessages) {
  for (const std::uint32_t radix : {2u, 3u, 4u, 8u, 16u}) {
    for (std::uint32_t size = 1; size <= kEverySize; ++size) expect_tree({size, radix});
    for (const std::uint32_t size : kLargeSizes) expect_tree({size, radix});
  }
}

TEST(Dissemination, IsProvenForEverySizeWithTheFewestRounds) {
  for (const std::uint32_t radix : {2u, 3u, 4u, 5u, 8u, 16u}) {
    for (std::uint32_t size = 1; size <= kEverySize; ++size) expect_dissemination({size, radix});
    for (const std::uint32_t size : kLargeSizes) expect_dissemination({size, radix});
  }
}

TEST(Tree, OneNodeHasNothingToDo) {
  EXPECT_TRUE(tree(0, {1, 8}).empty());
  EXPECT_TRUE(dissemination(0, {1, 8}).empty());
}

TEST(Tree, NoNodeTalksToMoreThanItsParentAndItsChildren) {
  for (NodeIndex self = 0; self < 1000; ++self) {
    std::set<NodeIndex> peers;
    for (const Step& step : tree(self, {1000, 4})) peers.insert(step.peer);
    EXPECT_LE(peers.size(), 5u);
  }
}

TEST(Plans, TheLargestJobsNeedNoLargerNumbers) {
  // The last of many nodes: products of node and radix must not wrap.
  const Shape shape{4'000'000'000u, 64};
  for (const NodeIndex self : {0u, 62'500'000u, shape.size - 1}) {
    for (const Step& step : tree(self, shape)) EXPECT_LT(step.peer, shape.size);
    for (const Step& step : dissemination(self, shape)) EXPECT_LT(step.peer, shape.size);
  }
  EXPECT_EQ(tree(shape.size - 1, shape).size(), 2u);
}

// -- switches

using topology::SwitchPath;
using topology::Tiers;

std::vector<Plan> build_switch_tree(const Tiers& tiers, std::uint32_t radix) {
  std::vector<Plan> plans;
  for (NodeIndex self = 0; self < tiers.size(); ++self) {
    plans.push_back(switch_tree(self, tiers, radix));
  }
  return plans;
}

/// Messages between nodes that are not in the same tier of that level.
std::size_t count_crossing(const std::vector<Plan>& plans, const Tiers& tiers, std::size_t level) {
  std::size_t crossing = 0;
  for (NodeIndex self = 0; self < plans.size(); ++self) {
    for (const Step& step : plans[self]) {
      const bool crosses = tiers.tier(self, level) != tiers.tier(step.peer, level);
      if (step.kind == StepKind::send && crosses) ++crossing;
    }
  }
  return crossing;
}

std::size_t count_tiers(const Tiers& tiers, std::size_t level) {
  std::set<std::uint32_t> found;
  for (NodeIndex node = 0; node < tiers.size(); ++node) found.insert(tiers.tier(node, level));
  return found.size();
}

void expect_switch_tree(const std::vector<SwitchPath>& paths, std::uint32_t radix) {
  const Tiers tiers(paths);
  const std::vector<Plan> plans = build_switch_tree(tiers, radix);
  ASSERT_EQ(verify(plans), "");
  ASSERT_EQ(count_sends(plans), 2 * (paths.size() - 1));
  // Whoever joins s tiers needs s - 1 edges between them; fewer would leave one out.
  for (std::size_t level = 0; level <= tiers.depth(); ++level) {
    ASSERT_EQ(count_crossing(plans, tiers, level), 2 * (count_tiers(tiers, level) - 1));
  }
}

TEST(SwitchTree, CrossesEverySwitchAsRarelyAsCanBe) {
  for (const std::uint32_t radix : {2u, 4u, 8u}) {
    for (const char* const shape :
         {"node:1", "node:9", "switch:1 node:5", "switch:3 node:1", "switch:4 node:16",
          "switch:2 switch:3 node:7", "switch:3 switch:2 switch:2 node:4", "switch:40 node:25"}) {
      SCOPED_TRACE(shape);
      expect_switch_tree(*topology::synthetic(shape), radix);
    }
  }
}

// Jobs get nodes in any order, from some of the switches, at different depths.
TEST(SwitchTree, IsProvenForNodesInAnyOrder) {
  std::mt19937 random(7);
  for (int run = 0; run < 500; ++run) {
    std::vector<SwitchPath> paths(1 + random() % 60);
    for (SwitchPath& path : paths) {
      const std::size_t depth = random() % 10 == 0 ? random() % 3 : 3;
      for (std::size_t level = 0; level < depth; ++level) {
        path.push_back("s" + std::to_string(random() % 3));
      }
    }
    SCOPED_TRACE(run);
    expect_switch_tree(paths, 2 + static_cast<std::uint32_t>(random() % 7));
  }
}

TEST(SwitchTree, IsThePlainTreeWhereNothingIsKnown) {
  const Tiers tiers(std::vector<SwitchPath>(50));
  EXPECT_EQ(tiers.depth(), 0u);
  for (NodeIndex self = 0; self < 50; ++self) {
    EXPECT_EQ(switch_tree(self, tiers, 4), tree(self, {50, 4}));
  }
}

// -- verify() must be able to fail

struct Shaped {
  Builder builder;
  Shape shape;
};

const std::vector<Shaped>& victims() {
  static const std::vector<Shaped> shapes = {{tree, {2, 2}},           {tree, {7, 2}},
                                             {tree, {20, 3}},          {tree, {33, 16}},
                                             {dissemination, {2, 2}},  {dissemination, {5, 2}},
                                             {dissemination, {16, 4}}, {dissemination, {19, 3}}};
  return shapes;
}

/// Applies `damage` to every step of every plan, one at a time, and expects a complaint each time.
/// `damage` returns false where it does not apply.
void expect_complaints(
    const std::function<bool(std::vector<Plan>&, NodeIndex, std::size_t)>& damage) {
  std::size_t damaged = 0;
  for (const auto& [builder, shape] : victims()) {
    const std::vector<Plan> sound = build(builder, shape);
    for (NodeIndex self = 0; self < shape.size; ++self) {
      for (std::size_t at = 0; at < sound[self].size(); ++at) {
        std::vector<Plan> plans = sound;
        if (!damage(plans, self, at)) continue;
        ++damaged;
        EXPECT_NE(verify(plans), "") << "node " << self << " step " << at << " of " << shape.size
                                     << " nodes, radix " << shape.radix;
      }
    }
  }
  EXPECT_GT(damaged, 50u) << "this test tests nothing";
}

TEST(Verify, SeesADroppedStep) {
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    plans[self].erase(plans[self].begin() + static_cast<std::ptrdiff_t>(at));
    return true;
  });
}

TEST(Verify, SeesARepeatedStep) {
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    plans[self].push_back(plans[self][at]);
    return true;
  });
}

TEST(Verify, SeesAnotherRoundNumber) {
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    plans[self][at].round = static_cast<std::uint16_t>(plans[self][at].round + 1);
    return true;
  });
}

TEST(Verify, SeesAnotherPeer) {
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    plans[self][at].peer = (plans[self][at].peer + 1) % static_cast<NodeIndex>(plans.size());
    return true;
  });
}

TEST(Verify, SeesAPeerThatIsNotThere) {
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    plans[self][at].peer = static_cast<NodeIndex>(plans.size());
    return true;
  });
}

TEST(Verify, SeesASendTurnedIntoAWait) {
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    Step& step = plans[self][at];
    step.kind = step.kind == StepKind::send ? StepKind::wait : StepKind::send;
    return true;
  });
}

TEST(Verify, SeesAMessageThatBothEndsForget) {
  // Both ends agree, so every send has its wait; what is missing is knowledge.
  expect_complaints([](std::vector<Plan>& plans, NodeIndex self, std::size_t at) {
    const Step step = plans[self][at];
    if (step.kind != StepKind::send) return false;
    std::erase(plans[self], step);
    std::erase(plans[step.peer], Step{self, step.round, StepKind::wait});
    return true;
  });
}

TEST(Verify, SeesASendBeforeTheWaitItDependsOn) {
  // A tree node that reports upwards before its children have reported to it.
  for (const std::uint32_t radix : {2u, 3u, 8u}) {
    std::vector<Plan> plans = build(tree, {20, radix});
    Plan& plan = plans[1];
    ASSERT_EQ(plan.front().kind, StepKind::wait);
    const auto up = std::find_if(plan.begin(), plan.end(),
                                 [](const Step& s) { return s.kind == StepKind::send; });
    std::rotate(plan.begin(), up, up + 1);
    EXPECT_NE(verify(plans), "");
  }
}

TEST(Verify, SeesARoundOfADisseminationThatComesTooEarly) {
  std::vector<Plan> plans = build(dissemination, {8, 2});
  // Every node runs its rounds backwards: all messages exist, and each is sent before what it
  // should bring is known. With a power of two the set still closes, so one node only.
  std::reverse(plans[3].begin(), plans[3].end());
  EXPECT_NE(verify(plans), "");
}

TEST(Verify, SeesNodesThatWaitForEachOther) {
  const std::vector<Plan> plans = {{{1, 0, StepKind::wait}, {1, 0, StepKind::send}},
                                   {{0, 0, StepKind::wait}, {0, 0, StepKind::send}}};
  EXPECT_NE(verify(plans).find("blocks"), std::string::npos);
}

TEST(Verify, SeesANodeThatTalksToItself) {
  const std::vector<Plan> plans = {{{0, 0, StepKind::send}, {0, 0, StepKind::wait}}};
  EXPECT_NE(verify(plans), "");
}

TEST(Verify, SeesTwoJobsThatNeverMeet) {
  const Plan left = {{1, 0, StepKind::send}, {1, 0, StepKind::wait}};
  const Plan right = {{0, 0, StepKind::send}, {0, 0, StepKind::wait}};
  const Plan third = {{3, 0, StepKind::send}, {3, 0, StepKind::wait}};
  const Plan fourth = {{2, 0, StepKind::send}, {2, 0, StepKind::wait}};
  EXPECT_NE(verify({left, right, third, fourth}).find("without having heard"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::schedule
