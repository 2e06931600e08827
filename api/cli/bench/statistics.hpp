// From the ranks' times of entry and exit to the numbers of a table. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "api/cli/bench/worker.hpp"

namespace lockstep::bench {

/// One block: one job of one library.
struct Block {
  double latency_us_median = 0;  ///< of T = max(exit) - max(entry)
  double latency_us_p99 = 0;
  double skew_us_median = 0;     ///< of max(exit) - min(exit)
  double osu_us = 0;             ///< mean over ranks of the plain loop
  std::uint64_t violations = 0;  ///< rounds that somebody left before everybody had entered
};

/// Several blocks: the median of their medians, and the range they span.
struct Summary {
  double median = 0;
  double least = 0;
  double most = 0;
};

double median(std::vector<double> values);
/// `times` of all ranks, rank by rank, `rounds` each.
Block summarise(std::span<const Times> times, std::uint32_t ranks, std::uint32_t rounds,
                std::span<const double> osu_mean_ns);
Summary over_blocks(const std::vector<double>& values);

}  // namespace lockstep::bench
