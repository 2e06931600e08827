// Sections whose first fails or dies at any moment: all survivors see one end.
// Method: random jobs, networks and deaths, thousands of seeds; then the fates are compared.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/sim/section_cluster.hpp"
#include "tests/sim/seeds.hpp"

namespace lockstep::sim {
namespace {

using engine::OutcomeKind;

SectionScenario random_section(Random& random) {
  SectionScenario scenario;
  scenario.nodes = 1 + random.below(random.below(2) == 0 ? 4 : 40);
  scenario.ranks_per_node = 1 + random.below(4);
  scenario.retries = random.below(2) == 0;
  scenario.arrival_max = random.between(0, random.below(2) == 0 ? kMillisecond : 5 * kSecond);
  scenario.work = random.between(0, random.below(2) == 0 ? kMillisecond : 5 * kSecond);
  scenario.weather.latency_max = random.between(kMicrosecond, 10 * kMillisecond);
  scenario.weather.slow_ppm = random.below(2) * random.below(50'000);
  scenario.weather.slow = random.between(0, 300 * kMillisecond);
  scenario.weather.repeat_ppm = random.below(2) * 20'000;
  return scenario;
}

/// Successors of speakers find each other through one that has been there all the time.
bool has_anchor(const SectionCluster& cluster, const SectionScenario& scenario) {
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    if (!cluster.fates()[node * scenario.ranks_per_node].is_dead) return true;
  }
  return scenario.nodes == 1;
}

/// Every survivor has seen an end, and all have seen the same; a first that was told that it had
/// succeeded is the one that they saw.
void expect_one_end(const SectionCluster& cluster, const SectionScenario& scenario) {
  if (!has_anchor(cluster, scenario)) return;
  std::optional<std::string> end;
  std::uint32_t succeeded = 0;
  for (const auto& fate : cluster.fates()) {
    if (fate.is_dead) continue;  // what it saw went with it
    if (fate.has_succeeded) ++succeeded;
    if (!fate.seen) {
      ADD_FAILURE() << "somebody waits for ever\n" << cluster.text();
      return;
    }
    if (!fate.seen->is_final) continue;  // it failed itself, and does not wait for the others
    const std::string seen = engine::encode_outcome(*fate.seen);
    if (!end) end = seen;
    if (*end != seen) {
      ADD_FAILURE() << "two ends\n" << cluster.text();
      return;
    }
  }
  EXPECT_LE(succeeded, 1u) << cluster.text();
  if (succeeded == 1 && end) {
    EXPECT_EQ(end->front(), static_cast<char>(OutcomeKind::ok)) << cluster.text();
  }
}

TEST(SimSections, NobodyDies) {
  for_seeds(500, [](std::uint64_t seed) {
    Random random(seed);
    SectionScenario scenario = random_section(random);
    if (random.below(2) == 0) scenario.deeds = {Deed::fails};
    SCOPED_TRACE(scenario.text());
    SectionCluster cluster(scenario, seed);
    cluster.run();
    expect_one_end(cluster, scenario);
    const auto ran = std::count_if(cluster.fates().begin(), cluster.fates().end(),
                                   [](const auto& fate) { return fate.has_run; });
    const bool one_fails = !scenario.deeds.empty();
    const std::uint32_t ranks = scenario.nodes * scenario.ranks_per_node;
    EXPECT_EQ(ran, !one_fails || (scenario.retries && ranks > 1) ? 1 : 0) << cluster.text();
  });
}

TEST(SimSections, FirstsFailAndDieOneAfterTheOther) {
  for_seeds(10'000, [](std::uint64_t seed) {
    Random random(seed);
    SectionScenario scenario = random_section(random);
    const std::uint32_t ranks = scenario.nodes * scenario.ranks_per_node;
    const std::uint32_t bad = random.below(std::min(ranks, 6u));
    for (Rank rank = 0; rank < bad; ++rank) {
      scenario.deeds.push_back(static_cast<Deed>(1 + random.below(4)));
    }
    SCOPED_TRACE(scenario.text());
    SectionCluster cluster(scenario, seed);
    cluster.run();
    expect_one_end(cluster, scenario);
    if (!scenario.retries || bad == ranks || !has_anchor(cluster, scenario)) return;
    // Somebody succeeds for all who are left: the first good one, or one that died as it said so.
    for (const auto& fate : cluster.fates()) {
      if (fate.is_dead || !fate.seen || !fate.seen->is_final) continue;
      EXPECT_EQ(fate.seen->kind, OutcomeKind::ok) << cluster.text();
    }
  });
}

/// The node that decides, those who pass records on, and who speaks for a node die as well.
TEST(SimSections, AnybodyDiesAtAnyMoment) {
  for_seeds(10'000, [](std::uint64_t seed) {
    Random random(seed);
    SectionScenario scenario = random_section(random);
    const std::uint32_t ranks = scenario.nodes * scenario.ranks_per_node;
    // One of the firsts, and one other somewhere: more at once may take the only copy with them.
    if (random.below(2) == 0) scenario.deeds.push_back(static_cast<Deed>(1 + random.below(4)));
    scenario.deaths[random.below(ranks)] =
        random.between(0, scenario.arrival_max + 2 * scenario.work + 3 * kSecond);
    SCOPED_TRACE(scenario.text());
    SectionCluster cluster(scenario, seed);
    cluster.run();
    expect_one_end(cluster, scenario);
  });
}

/// A section that lasts for hours is waited for; those who wait ask now and then, and decide
/// nothing.
TEST(SimSections, AFirstMayTakeAsLongAsItTakes) {
  SectionScenario scenario;
  scenario.nodes = 5;
  scenario.ranks_per_node = 2;
  scenario.retries = true;
  scenario.arrival_max = 0;
  scenario.work = 550 * kSecond;
  for_seeds(20, [&](std::uint64_t seed) {
    SectionCluster cluster(scenario, seed);
    cluster.run();
    expect_one_end(cluster, scenario);
    EXPECT_TRUE(cluster.fates()[0].has_succeeded);
    EXPECT_LT(cluster.posted(engine::FrameType::outcome_ask), 4u * 30);
  });
}

/// A frame that is lost without a word costs time, and leaves nobody behind.
TEST(SimSections, LostRecordsAreAskedFor) {
  for_seeds(500, [](std::uint64_t seed) {
    Random random(seed);
    SectionScenario scenario = random_section(random);
    scenario.nodes = 2 + random.below(20);
    scenario.work = kMillisecond;
    scenario.arrival_max = kMillisecond;
    SectionCluster cluster(scenario, seed);
    cluster.cut(0, 1 + random.below(scenario.nodes - 1), 0, 2 * kSecond);
    cluster.run();
    expect_one_end(cluster, scenario);
    EXPECT_TRUE(cluster.fates()[0].has_succeeded);
  });
}

}  // namespace
}  // namespace lockstep::sim
