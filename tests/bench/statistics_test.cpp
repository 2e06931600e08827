// The numbers of a table from times that are known.
#include "api/cli/bench/statistics.hpp"

#include <gtest/gtest.h>

namespace lockstep::bench {
namespace {

TEST(Statistics, LatencyCountsFromTheLastEntryToTheLastExit) {
  // Two ranks, two rounds: rank by rank.
  const std::vector<Times> times = {{1000, 5000}, {10000, 14000}, {2000, 4000}, {11000, 15000}};
  const std::vector<double> means = {1000, 3000};
  const Block block = summarise(times, 2, 2, means);
  EXPECT_DOUBLE_EQ(block.latency_us_median, (3.0 + 4.0) / 2);
  EXPECT_DOUBLE_EQ(block.skew_us_median, 1.0);
  EXPECT_DOUBLE_EQ(block.osu_us, 2.0);
  EXPECT_EQ(block.violations, 0u);
}

TEST(Statistics, ARoundThatSomebodyLeftTooEarlyIsAViolation) {
  const std::vector<Times> times = {{1000, 1500}, {2000, 3000}};
  EXPECT_EQ(summarise(times, 2, 1, std::vector<double>{1, 1}).violations, 1u);
}

TEST(Statistics, MedianOfEvenAndOddCounts) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(median({}), 0);
  const Summary summary = over_blocks({5, 1, 3});
  EXPECT_DOUBLE_EQ(summary.median, 3);
  EXPECT_DOUBLE_EQ(summary.least, 1);
  EXPECT_DOUBLE_EQ(summary.most, 5);
}

}  // namespace
}  // namespace lockstep::bench
