// One verdict: questions race with arrivals, with each other and with the end of the round.
// Method: everything happens at about the same time, in thousands of orders; then the fates are
// compared. A deadline's verdict may or may not name ranks that arrived between the first question
// and the decision; it must name all that came later and nobody who was there before.
#include <gtest/gtest.h>

#include "tests/sim/seeds.hpp"

namespace lockstep::sim {
namespace {

/// Questions, answers and arrivals within the same fraction of a millisecond; answers always come
/// within the grace.
Scenario tight_scenario(Random& random, std::uint32_t nodes_max, Epoch epochs_max) {
  Scenario scenario = random_scenario(random, nodes_max);
  scenario.epochs = std::min(scenario.epochs, epochs_max);
  scenario.weather.keeps_order = true;
  scenario.think_max = random.between(0, 200 * kMicrosecond);
  scenario.weather.slow = random.between(0, kMillisecond);
  return scenario;
}

void expect_fair(const Cluster& cluster, const Scenario& scenario) {
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    const auto& verdict = cluster.fate(node).verdict;
    if (!verdict) continue;
    EXPECT_EQ(verdict->cause, LOCKSTEP_E_DEADLINE);
    const RankSet before = cluster.absent(verdict->epoch, cluster.first_asked(verdict->epoch));
    const RankSet still = cluster.absent(verdict->epoch, cluster.first_broken());
    for (const Rank rank : verdict->missing.list()) {
      RankSet with = before;
      with.merge(RankSet({{rank, 1}}));
      EXPECT_EQ(with.size(), before.size()) << "rank " << rank << " was there before anybody asked";
    }
    RankSet named = verdict->missing;
    named.merge(still);
    EXPECT_EQ(named.size(), verdict->missing.size())
        << "ranks " << still.text() << " had not come, " << verdict->missing.text() << " are named";
  }
}

void expect_all(const Cluster& cluster, const Scenario& scenario) {
  expect_sound(cluster);
  expect_one_verdict(cluster);
  expect_fair(cluster, scenario);
}

constexpr Epoch kOneRound = 1;
constexpr Epoch kManyRounds = UINT64_MAX;

// The last rank arrives about when the others' deadline passes; all nodes ask at about one time.
void race_deadlines_with_the_last_arrival(Epoch epochs_max) {
  for_seeds(5'000, [epochs_max](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = tight_scenario(random, 32, epochs_max);
    scenario.deadline = random.between(100 * kMicrosecond, kMillisecond);
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Epoch epoch = 1 + random.below(scenario.epochs);
    const Rank late = random.below(scenario.nodes * scenario.ranks_per_node);
    cluster.delay_arrival(late, epoch, random.between(0, 2 * scenario.deadline));
    cluster.run();
    expect_all(cluster, scenario);
  });
}

// Many members ask at random times although nothing is wrong but the weather.
void race_questions(Epoch epochs_max, bool keeps_order) {
  for_seeds(5'000, [epochs_max, keeps_order](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = tight_scenario(random, 32, epochs_max);
    scenario.weather.keeps_order = keeps_order;
    scenario.weather.repeat_ppm = keeps_order ? 0 : random.below(2) * 50'000;
    scenario.deadline = 30 * kMillisecond;
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const std::uint32_t asks = 1 + random.below(5);
    for (std::uint32_t i = 0; i < asks; ++i) {
      cluster.ask_at(random.between(0, 600 * kMicrosecond), random.below(scenario.nodes));
    }
    cluster.run();
    expect_all(cluster, scenario);
  });
}

// A node stands still for a while, always shorter than half the grace.
void race_deadlines_with_a_stall(Epoch epochs_max) {
  for_seeds(2'500, [epochs_max](std::uint64_t seed) {
    Random random(seed);
    Scenario scenario = tight_scenario(random, 24, epochs_max);
    scenario.deadline = random.between(200 * kMicrosecond, 2 * kMillisecond);
    SCOPED_TRACE(scenario.text());
    Cluster cluster(scenario, seed);
    const Nanos since = random.between(0, kMillisecond);
    cluster.stall(random.below(scenario.nodes), since,
                  since + random.between(0, scenario.grace / 2));
    cluster.run();
    expect_all(cluster, scenario);
  });
}

TEST(Races, ADeadlineAgainstTheLastArrival) {
  race_deadlines_with_the_last_arrival(kOneRound);
}
TEST(Races, ADeadlineAgainstTheLastArrivalInAnyRound) {
  race_deadlines_with_the_last_arrival(kManyRounds);
}
TEST(Races, SeveralAskAtOnce) {
  race_questions(kOneRound, true);
}
TEST(Races, SeveralAskAtOnceInAnyRound) {
  race_questions(kManyRounds, true);
}
// The plugin ABI promises less: any order, and repetitions.
TEST(Races, SeveralAskAtOnceAndFramesOvertakeAndRepeat) {
  race_questions(kManyRounds, false);
}
TEST(Races, ADeadlineWhileANodeStandsStill) {
  race_deadlines_with_a_stall(kOneRound);
}
TEST(Races, ADeadlineWhileANodeStandsStillInAnyRound) {
  race_deadlines_with_a_stall(kManyRounds);
}

}  // namespace
}  // namespace lockstep::sim
