// Every wait ends, in success or in one verdict that names who is missing: one kind of fault per
// test. Method: the cluster knows from outside who had arrived when; the verdict must say the same.
#include <gtest/gtest.h>

#include "tests/sim/seeds.hpp"

namespace lockstep::sim {
namespace {

constexpr Nanos kDeadline = 20 * kMillisecond;

/// A job in which rounds complete far within the deadline unless something is wrong.
Scenario calm_scenario(Random& random, std::uint32_t nodes_max) {
  Scenario scenario = random_scenario(random, nodes_max);
  scenario.nodes = std::max(scenario.nodes, 2u);
  scenario.weather.keeps_order = true;
  scenario.deadline = kDeadline;
  return scenario;
}

bool contains(const RankSet& all, const RankSet& part) {
  RankSet both = all;
  both.merge(part);
  return both.ranges() == all.ranges();
}

RankSet ranks_of(const Scenario& scenario, NodeIndex node) {
  return RankSet({{node * scenario.ranks_per_node, scenario.ranks_per_node}});
}

const engine::Verdict& verdict_of_survivors(const Cluster& cluster, const Scenario& scenario) {
  static const engine::Verdict none;
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    if (!cluster.is_dead(node) && cluster.fate(node).verdict) return *cluster.fate(node).verdict;
  }
  return none;
}

TEST(Deadline, NamesExactlyTheRanksThatNeverCame) {
  for_seeds(3'000, [](std::uint64_t seed) {
    Random random(seed);
    const Scenario scenario = calm_scenario(random, 64);
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Epoch epoch = 1 + random.below(scenario.epochs);
    const std::uint32_t ranks = scenario.nodes * scenario.ranks_per_node;
    RankSet never;
    // At least one is there, or nobody would wait.
    for (Rank rank = 1; rank < ranks; ++rank) {
      if (random.below(ranks) > 2 && rank != ranks - 1) continue;
      cluster.delay_arrival(rank, epoch, kNever);
      never.append(rank);
    }
    cluster.run();
    expect_sound(cluster);
    expect_one_verdict(cluster);
    const engine::Verdict& verdict = verdict_of_survivors(cluster, scenario);
    EXPECT_EQ(verdict.cause, LOCKSTEP_E_DEADLINE);
    EXPECT_EQ(verdict.epoch, epoch);
    EXPECT_EQ(verdict.missing.text(), never.text());
    EXPECT_EQ(verdict.text, "");
    EXPECT_TRUE(cluster.all_completed(epoch - 1));
  });
}

TEST(Lost, ADeadNodeIsNamedAndTheOthersGoOn) {
  for_seeds(3'000, [](std::uint64_t seed) {
    Random random(seed);
    const Scenario scenario = calm_scenario(random, 48);
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const NodeIndex dead = random.below(scenario.nodes);
    cluster.kill(dead, random.between(0, 3 * kMillisecond));
    cluster.run();
    expect_sound(cluster);
    const engine::Verdict& verdict = verdict_of_survivors(cluster, scenario);
    if (!verdict.is_broken()) return;  // it died behind the last round
    EXPECT_EQ(verdict.cause, LOCKSTEP_E_LOST);
    EXPECT_TRUE(contains(verdict.missing, ranks_of(scenario, dead))) << verdict.missing.text();
    EXPECT_NE(verdict.text.find(" on n" + std::to_string(dead) + " "), std::string::npos)
        << verdict.text;
  });
}

// A transport notices a death only where it has sent something: one node's word must do for all.
TEST(Lost, ADeathThatOneNodeIsToldOfHoldsNobodyUp) {
  for_seeds(3'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = calm_scenario(random, 24);
    scenario.deadline = kNever;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const NodeIndex dead = random.below(scenario.nodes);
    const NodeIndex told = (dead + 1 + random.below(scenario.nodes - 1)) % scenario.nodes;
    cluster.kill(dead, random.between(0, kMillisecond), told);
    cluster.run();
    SCOPED_TRACE(cluster.text());
    expect_sound(cluster);
    expect_one_verdict(cluster);
  });
}

// "Gone" must not be said of ranks that are merely on their way.
TEST(Lost, NobodyElseIsNamed) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = calm_scenario(random, 16);
    scenario.nodes = std::max(scenario.nodes, 3u);
    scenario.epochs = 1;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const NodeIndex dead = random.below(scenario.nodes);
    const NodeIndex late = (dead + 1) % scenario.nodes;
    cluster.kill(dead, 0);
    cluster.delay_arrival(late * scenario.ranks_per_node, 1, 15 * kMillisecond);
    cluster.run();
    expect_sound(cluster);
    const engine::Verdict& verdict = verdict_of_survivors(cluster, scenario);
    EXPECT_EQ(verdict.cause, LOCKSTEP_E_LOST);
    EXPECT_EQ(verdict.missing.text(), ranks_of(scenario, dead).text()) << verdict.text;
  });
}

// A node stands still for much longer than the grace: the others name it and go on; when it is back
// it must not complete what they have broken.
TEST(Silent, ANodeThatDoesNotAnswerIsNamed) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = calm_scenario(random, 48);
    scenario.epochs = 2;
    scenario.think_max = 10 * kMillisecond;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const NodeIndex silent = random.below(scenario.nodes);
    cluster.stall(silent, 5 * kMillisecond, 2 * kSecond);
    cluster.run();
    expect_sound(cluster);
    expect_one_verdict(cluster);
    const engine::Verdict& verdict = verdict_of_survivors(cluster, scenario);
    if (!verdict.is_broken()) return;  // it had done its part
    EXPECT_EQ(verdict.cause, LOCKSTEP_E_LOST);
    EXPECT_TRUE(contains(verdict.missing, ranks_of(scenario, silent))) << verdict.missing.text();
    EXPECT_NE(verdict.text.find("does not answer"), std::string::npos);
  });
}

TEST(Cut, TwoNodesThatCannotTalkDoNotHang) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    const Scenario scenario = calm_scenario(random, 24);
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const NodeIndex a = random.below(scenario.nodes);
    const NodeIndex b = (a + 1 + random.below(scenario.nodes - 1)) % scenario.nodes;
    cluster.cut({a, b, 0, kNever});
    cluster.cut({b, a, 0, kNever});
    cluster.run();
    expect_sound(cluster);
  });
}

// A transport that loses a few frames and then works again: the result is sent once more.
TEST(Cut, AFrameThatIsLostDelaysARoundAndNoMore) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = calm_scenario(random, 24);
    scenario.epochs = 1;  // in a second one, a node that is late from the first would be named
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const NodeIndex a = random.below(scenario.nodes);
    const NodeIndex b = (a + 1 + random.below(scenario.nodes - 1)) % scenario.nodes;
    cluster.cut({a, b, 0, kMillisecond});
    cluster.run();
    expect_sound(cluster);
    EXPECT_TRUE(cluster.all_completed(scenario.epochs)) << cluster.text();
  });
}

// A node that has finished may leave: it has sent all that the others need.
TEST(Leaving, ANodeThatIsDoneIsNotMissed) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = calm_scenario(random, 48);
    scenario.leaves_when_done = true;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    cluster.run();
    expect_sound(cluster);
    EXPECT_TRUE(cluster.all_completed(scenario.epochs)) << cluster.text();
  });
}

// A node that is suspended in its last round asks when it goes on; the others may have left then.
TEST(Leaving, ANodeThatStoodStillMeanwhileHasCompletedToo) {
  for_seeds(3'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = calm_scenario(random, 24);
    scenario.epochs = 1;
    scenario.leaves_when_done = true;
    scenario.deadline = kNever;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Nanos since = random.between(0, 500 * kMicrosecond);
    const Nanos pause = random.between(scenario.grace / 2, scenario.grace * 9 / 10);
    cluster.stall(random.below(scenario.nodes), since, since + pause);
    cluster.run();
    expect_sound(cluster);
    EXPECT_TRUE(cluster.all_completed(scenario.epochs)) << cluster.text();
  });
}

TEST(Mismatch, NodesInDifferentCallsAreToldBothSites) {
  for_seeds(2'000, [](std::uint64_t seed) {
    Random random(seed);
    const Scenario scenario = calm_scenario(random, 48);
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Epoch epoch = 1 + random.below(scenario.epochs);
    cluster.misplace(random.below(scenario.nodes), epoch);
    cluster.run();
    expect_sound(cluster);
    expect_one_verdict(cluster);
    EXPECT_TRUE(cluster.all_completed(epoch - 1));
    for (NodeIndex node = 0; node < scenario.nodes; ++node) {
      ASSERT_TRUE(cluster.fate(node).verdict) << "node " << node << " has seen nothing";
      const engine::Verdict& verdict = *cluster.fate(node).verdict;
      EXPECT_EQ(verdict.cause, LOCKSTEP_E_MISMATCH);
      EXPECT_EQ(verdict.epoch, epoch);
      EXPECT_NE(verdict.text.find("at here"), std::string::npos) << verdict.text;
      EXPECT_NE(verdict.text.find("at there"), std::string::npos) << verdict.text;
    }
  });
}

}  // namespace
}  // namespace lockstep::sim
