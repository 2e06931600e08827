// Polls at any pace, sets at any moment, a death at any moment: all meet in the same poll, and what
// was set is told. Method: random jobs on random networks, thousands of seeds.
#include <gtest/gtest.h>

#include "tests/sim/poll_cluster.hpp"
#include "tests/sim/seeds.hpp"

namespace lockstep::sim {
namespace {

PollScenario random_polls(Random& random) {
  PollScenario scenario;
  scenario.nodes = 1 + random.below(random.below(4) == 0 ? 12 : 4);
  scenario.ranks_per_node = 1 + random.below(4);
  scenario.pace_max =
      random.between(kMicrosecond, random.below(2) == 0 ? 10 * kMicrosecond : kMillisecond);
  scenario.sets = random.below(6);
  scenario.time = random.between(0, 5 * kMillisecond);
  scenario.weather.latency_max = random.between(kMicrosecond, 500 * kMicrosecond);
  scenario.weather.slow_ppm = random.below(2) * random.below(200'000);
  scenario.weather.slow = random.between(0, 50 * kMillisecond);
  scenario.weather.repeat_ppm = random.below(2) * 100'000;
  return scenario;
}

void expect_sound(const PollScenario& scenario, std::uint64_t seed) {
  SCOPED_TRACE(scenario.text());
  PollCluster cluster(scenario, seed);
  cluster.run();
  for (const std::string& wrong : cluster.wrongs()) ADD_FAILURE() << wrong;
}

TEST(SimPolls, AllMeetInTheSamePollAndNothingIsLost) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    expect_sound(random_polls(random), seed);
  });
}

TEST(SimPolls, WhoeverDiesNobodyWaitsForEver) {
  for_seeds(1'000, [](std::uint64_t seed) {
    Random random(seed);
    PollScenario scenario = random_polls(random);
    const std::uint32_t ranks = scenario.nodes * scenario.ranks_per_node;
    // Speakers more often than others.
    scenario.dies = random.below(2) == 0 ? random.below(ranks)
                                         : random.below(scenario.nodes) * scenario.ranks_per_node;
    scenario.death = random.between(0, scenario.time + 2 * kMillisecond);
    expect_sound(scenario, seed);
  });
}

/// Nobody follows it on its node, and it may have been the furthest of all: what it said last must
/// not count where the next coordinator has asked before it came.
TEST(SimPolls, ACoordinatorThatDiesWhileItTellsIsHeardByAllOrByNobody) {
  for_seeds(2'000, [](std::uint64_t seed) {
    Random random(seed);
    PollScenario scenario;
    scenario.nodes = 3 + random.below(3);
    scenario.pace_max = random.between(10 * kMicrosecond, 100 * kMicrosecond);
    scenario.sets = 1;
    scenario.time = 200 * kMicrosecond;
    scenario.weather.latency_max = 200 * kMicrosecond;
    scenario.weather.slow_ppm = 300'000;
    scenario.weather.slow = 60 * kMillisecond;
    scenario.dies = 0;
    scenario.death = random.between(200 * kMicrosecond, 2 * kMillisecond) +
                     random.below(2) * random.between(0, 60 * kMillisecond);
    expect_sound(scenario, seed);
  });
}

TEST(SimPolls, NothingIsSentWhileNothingIsSet) {
  PollScenario scenario;
  scenario.nodes = 4;
  scenario.ranks_per_node = 2;
  scenario.sets = 0;
  PollCluster cluster(scenario, 1);
  cluster.run();
  EXPECT_EQ(cluster.posted(), 0u);
  EXPECT_EQ(cluster.meetings(), 0u);
}

}  // namespace
}  // namespace lockstep::sim
