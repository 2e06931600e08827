// Medians over rounds and blocks.
#include "api/cli/bench/statistics.hpp"

#include <algorithm>
#include <numeric>

namespace lockstep::bench {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Block summarise(std::span<const Times> times, std::uint32_t ranks, std::uint32_t rounds,
                std::span<const double> osu_mean_ns) {
  Block block;
  std::vector<double> latencies;
  std::vector<double> skews;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    std::int64_t last_entry = INT64_MIN;
    std::int64_t first_exit = INT64_MAX;
    std::int64_t last_exit = INT64_MIN;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      const Times& mine = times[std::size_t{rank} * rounds + round];
      last_entry = std::max(last_entry, mine.entry_ns);
      first_exit = std::min(first_exit, mine.exit_ns);
      last_exit = std::max(last_exit, mine.exit_ns);
    }
    if (first_exit < last_entry) ++block.violations;
    latencies.push_back(static_cast<double>(last_exit - last_entry) / 1000);
    skews.push_back(static_cast<double>(last_exit - first_exit) / 1000);
  }
  std::vector<double> sorted = latencies;
  std::sort(sorted.begin(), sorted.end());
  block.latency_us_p99 = sorted.empty() ? 0 : sorted[(sorted.size() - 1) * 99 / 100];
  block.latency_us_median = median(std::move(latencies));
  block.skew_us_median = median(std::move(skews));
  block.osu_us = std::accumulate(osu_mean_ns.begin(), osu_mean_ns.end(), 0.0) / 1000 /
                 static_cast<double>(osu_mean_ns.size());
  return block;
}

Summary over_blocks(const std::vector<double>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return {median(values), *least, *most};
}

}  // namespace lockstep::bench
