// Many runs of one property: every seed is another job, another network and another course of
// events.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>

#include "tests/sim/cluster.hpp"

namespace lockstep::sim {

/// Which of the seeds are this process's, where several share them: LOCKSTEP_SHARE=3/16.
struct Share {
  std::uint64_t first = 1;
  std::uint64_t step = 1;

  static Share from_environment() {
    Share share;
    if (const char* const text = std::getenv("LOCKSTEP_SHARE"); text != nullptr) {
      char* rest = nullptr;
      share.first = std::strtoull(text, &rest, 10);
      share.step = *rest == '/' ? std::strtoull(rest + 1, nullptr, 10) : 0;
      if (share.first < 1 || share.first > share.step) {
        ADD_FAILURE() << "LOCKSTEP_SHARE=" << text << " is no share; the third of 16 is 3/16";
        return {};
      }
    }
    return share;
  }
};

/// Calls body(seed) for 1 .. count and stops at the first seed that fails. A failing seed runs
/// alone with --gtest_random_seed=SEED. LOCKSTEP_SOAK=100 in the environment: a hundred times as
/// many.
template <class Body>
void for_seeds(std::uint64_t count, Body&& body) {
  const auto only = static_cast<std::uint64_t>(GTEST_FLAG_GET(random_seed));
  const char* const soak = std::getenv("LOCKSTEP_SOAK");
  if (soak != nullptr) count *= std::strtoull(soak, nullptr, 10);
  const Share share = only != 0 ? Share{only} : Share::from_environment();
  const std::uint64_t last = only != 0 ? only : count;
  for (std::uint64_t seed = share.first; seed <= last; seed += share.step) {
    body(seed);
    if (testing::Test::HasFailure()) {
      const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
      ADD_FAILURE() << "seed " << seed << "; again: --gtest_filter=" << test.test_suite_name()
                    << "." << test.name() << " --gtest_random_seed=" << seed;
      return;
    }
  }
}

/// A job of up to `nodes_max` nodes on some network. Frames keep their order on request only.
inline Scenario random_scenario(Random& random, std::uint32_t nodes_max) {
  constexpr std::uint32_t kRadices[] = {2, 3, 4, 8, 16};
  Scenario scenario;
  // Half of the jobs are small: that is where every course of events has a chance to occur.
  scenario.nodes = 1 + random.below(random.below(2) == 0 ? std::min(nodes_max, 6u) : nodes_max);
  scenario.ranks_per_node = 1 + random.below(3);
  scenario.topology = random.below(2) == 0 ? Topology::tree : Topology::dissemination;
  scenario.radix = kRadices[random.below(5)];
  scenario.epochs = 1 + random.below(4);
  scenario.think_max = random.between(0, 100 * kMicrosecond);
  scenario.weather.latency_max = random.between(kMicrosecond, 100 * kMicrosecond);
  scenario.weather.slow_ppm = random.below(2) * random.below(50'000);
  scenario.weather.slow = random.between(0, 3 * kMillisecond);
  return scenario;
}

/// Rounds are barriers, results are right, and nobody waits for ever.
inline void expect_sound(const Cluster& cluster) {
  for (const std::string& wrong : cluster.wrongs()) ADD_FAILURE() << wrong;
  for (const NodeIndex node : cluster.stuck()) {
    ADD_FAILURE() << "node " << node << " waits for ever in epoch "
                  << cluster.fate(node).completed + 1;
    break;  // the others wait with it
  }
}

/// No epoch has two ends, and those that see a broken one are told the same.
inline void expect_one_verdict(const Cluster& cluster) {
  EXPECT_TRUE(cluster.is_of_one_mind()) << "complete here, broken there\n" << cluster.text();
  EXPECT_TRUE(cluster.has_one_verdict()) << "two verdicts\n" << cluster.text();
}

}  // namespace lockstep::sim
