// A barrier must be a barrier, and its result everybody's: rounds without faults, in any weather.
// Method: production exchanges on a simulated network; the cluster checks every completion.
#include <gtest/gtest.h>

#include "tests/sim/seeds.hpp"

namespace lockstep::sim {
namespace {

void expect_all_complete(const Scenario& scenario, Cluster& cluster) {
  cluster.run();
  expect_sound(cluster);
  EXPECT_TRUE(cluster.all_completed(scenario.epochs));
}

std::uint64_t control_frames(const Cluster& cluster) {
  const Network& network = cluster.network();
  return network.posted(engine::FrameType::ask) + network.posted(engine::FrameType::answer) +
         network.posted(engine::FrameType::resume) + network.posted(engine::FrameType::broken);
}

// Hold one rank back, let the network drain, and look; then let it in.
TEST(Rounds, NobodyLeavesBeforeEverybodyEnters) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = random_scenario(random, 64);
    scenario.weather.keeps_order = true;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Rank late = random.below(scenario.nodes * scenario.ranks_per_node);
    const Nanos drained = 200 * kMillisecond;
    cluster.delay_arrival(late, 1, drained);
    cluster.run();
    expect_sound(cluster);
    for (NodeIndex node = 0; node < scenario.nodes; ++node) {
      EXPECT_GE(cluster.fate(node).ended, drained);
      EXPECT_GE(cluster.fate(node).completed, 1u);
    }
  });
}

TEST(Rounds, EveryNodeHasEverybodysBitsWhenFramesKeepTheirOrder) {
  for_seeds(4'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = random_scenario(random, 64);
    scenario.weather.keeps_order = true;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    expect_all_complete(scenario, cluster);
    EXPECT_EQ(control_frames(cluster), 0u) << "nobody had a reason to ask";
  });
}

// The plugin ABI promises less: any order, and repetitions.
TEST(Rounds, EveryNodeHasEverybodysBitsWhenFramesOvertakeAndRepeat) {
  for_seeds(4'000, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = random_scenario(random, 64);
    scenario.weather.repeat_ppm = random.below(2) * 50'000;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    expect_all_complete(scenario, cluster);
  });
}

TEST(Rounds, ATreeTakesTwoMessagesPerNodeButOne) {
  for (std::uint32_t nodes = 1; nodes <= 64; ++nodes) {
    for (const std::uint32_t radix : {2u, 3u, 8u}) {
      Scenario scenario{.nodes = nodes, .topology = Topology::tree, .radix = radix, .epochs = 5};
      SCOPED_TRACE(scenario.text());
      Cluster cluster(scenario, nodes);
      expect_all_complete(scenario, cluster);
      EXPECT_EQ(cluster.network().posted(engine::FrameType::fact), 5u * 2 * (nodes - 1));
      EXPECT_EQ(control_frames(cluster), 0u);
    }
  }
}

// A short stall of any node delays a round and changes nothing else.
TEST(Rounds, AStallDelaysEverybodyAndBreaksNothing) {
  for_seeds(500, [](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = random_scenario(random, 32);
    scenario.weather.keeps_order = true;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Nanos since = random.between(0, kMillisecond);
    cluster.stall(random.below(scenario.nodes), since,
                  since + random.between(0, 50 * kMillisecond));
    expect_all_complete(scenario, cluster);
  });
}

TEST(Rounds, AThousandNodesAreInStep) {
  for (const Topology topology : {Topology::tree, Topology::dissemination}) {
    Scenario scenario{.nodes = 1'000, .topology = topology, .radix = 8, .epochs = 3};
    scenario.weather.keeps_order = true;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, 1);
    expect_all_complete(scenario, cluster);
  }
}

TEST(Rounds, TenThousandNodesAreInStep) {
  for (const Topology topology : {Topology::tree, Topology::dissemination}) {
    Scenario scenario{.nodes = 10'000, .topology = topology, .radix = 8, .epochs = 2};
    scenario.weather.keeps_order = true;
    scenario.has_vectors = false;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, 1);
    expect_all_complete(scenario, cluster);
  }
}

}  // namespace
}  // namespace lockstep::sim
