// Interleaved blocks, and what rank 0 prints of them.
#include "tests/bench/gpu/bench.hpp"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "api/cli/bench/statistics.hpp"

namespace lockstep::bench::gpu {
namespace {

using Json = nlohmann::ordered_json;

/// Rounds before the first block: caches, connections and clocks come up in them.
constexpr unsigned kWarmUp = 20;

std::string name_of_gpu() {
  int device = 0;
  cudaDeviceProp properties{};
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
    return "unknown GPU";
  }
  return properties.name;
}

void print_line(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace

Bench::Bench(Session& job, const Settings& settings)
    : job_(job),
      settings_(settings),
      control_(job.job().split(0, {.timeout = kMakeLimit}).value()),
      gpu_name_(name_of_gpu()) {}

bool Bench::wants(const std::string& name) const {
  const std::vector<std::string>& only = settings_.only;
  return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
}

Group Bench::new_group() {
  return control_.split(0, {.timeout = kMakeLimit}).value();
}

void Bench::run(std::vector<Contender>& contenders, unsigned rounds, const std::string& unit) {
  std::string why;
  try {
    measure(contenders, settings_.rounds != 0 ? settings_.rounds : rounds);
  } catch (const std::exception& error) {
    why = error.what();
  }
  for (const Contender& contender : contenders) report(contender.name, contender.blocks, unit);
  if (!agree("blocks", why)) throw std::runtime_error("a round has failed; the rest is left out");
}

void Bench::measure(std::vector<Contender>& contenders, unsigned rounds) {
  Group align = new_group();
  const auto once = [&](const Contender& contender) {
    align.wait_for_everyone({.timeout = kRankLimit});
    return contender.round();
  };
  for (const Contender& contender : contenders) {
    const Watchdog::Watch watch(dog_, contender.name.c_str(), kMakeLimit);
    for (unsigned round = 0; round < kWarmUp; ++round) once(contender);
  }
  for (unsigned block = 0; block < settings_.blocks; ++block) {
    for (Contender& contender : contenders) {
      const Watchdog::Watch watch(dog_, contender.name.c_str(), kMakeLimit);
      std::vector<double> times;
      for (unsigned round = 0; round < rounds; ++round) times.push_back(once(contender));
      contender.blocks.push_back(median(std::move(times)));
    }
  }
}

bool Bench::agree(const std::string& name, const std::string& why) {
  const std::vector<std::string> all =
      control_.gather(why, {.timeout = kMakeLimit + kRankLimit + kRankLimit});
  std::string text;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) text += fmt::format("rank {}: {}; ", rank, all[rank]);
  }
  if (text.empty()) return true;
  text.resize(text.size() - 2);
  report_failure(name, text);
  return false;
}

void Bench::report(const std::string& name, const std::vector<double>& values,
                   const std::string& unit) {
  if (!job_.is_main_process() || values.empty()) return;
  const Summary summary = over_blocks(values);
  if (settings_.is_table) {
    print_line(fmt::format("{:<8} {:<34} {:>10.3f} {:<3} ({:.3f} - {:.3f})", settings_.part, name,
                           summary.median, unit, summary.least, summary.most));
    return;
  }
  print_line(Json{{"part", settings_.part},
                  {"tag", settings_.tag},
                  {"name", name},
                  {"unit", unit},
                  {"median", summary.median},
                  {"least", summary.least},
                  {"most", summary.most},
                  {"blocks", values},
                  {"ranks", job_.size()},
                  {"nodes", job_.node_count()},
                  {"gpu", gpu_name_}}
                 .dump());
}

void Bench::report_failure(const std::string& name, const std::string& why) {
  if (!job_.is_main_process()) return;
  if (settings_.is_table) {
    print_line(fmt::format("{:<8} {:<34} failed: {}", settings_.part, name, why));
    return;
  }
  print_line(Json{{"part", settings_.part},
                  {"tag", settings_.tag},
                  {"name", name},
                  {"failed", why},
                  {"ranks", job_.size()},
                  {"nodes", job_.node_count()}}
                 .dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace lockstep::bench::gpu
