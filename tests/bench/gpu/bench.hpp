// What the parts of gpu_bench share: contenders in interleaved blocks, failures that all ranks
// agree on, and one voice.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "lockstep/lockstep.hpp"
#include "tests/bench/gpu/watchdog.hpp"

namespace lockstep::bench::gpu {

struct Settings {
  std::string part;
  std::string tag;  ///< tells runs of the same part apart, in what is printed
  std::vector<std::string> only{};
  unsigned blocks = 9;
  unsigned rounds = 0;      ///< of a block; 0: as the part has them
  unsigned barriers = 100;  ///< of a graph, or of a round
  bool is_table = false;
  bool is_gpu_by_rank = false;
};

/// How long one rank waits for the others before a round.
inline constexpr std::chrono::seconds kRankLimit{20};
/// How long something may take to be made, or a block to be measured.
inline constexpr std::chrono::seconds kMakeLimit{40};

/// One of the things that are measured side by side.
struct Contender {
  std::string name;
  std::function<double()> round;  ///< does it once, and returns how long it took
  std::vector<double> blocks{};   ///< medians
};

class Bench {
 public:
  Bench(Session& job, const Settings& settings);

  const Settings& settings() const noexcept { return settings_; }
  Session& job() noexcept { return job_; }
  Watchdog& dog() noexcept { return dog_; }
  bool wants(const std::string& name) const;
  /// A new group of all ranks: what breaks in it breaks nothing else.
  Group new_group();
  /// The root's bytes, on all ranks.
  std::string broadcast(const std::string& bytes) {
    return control_.broadcast(bytes, 0, {.timeout = kMakeLimit});
  }

  /// What `make` returns, on all ranks, or nothing on all of them; then the reasons are printed.
  template <class F>
  std::optional<std::invoke_result_t<F>> make(const std::string& name, F&& make) {
    std::optional<std::invoke_result_t<F>> made;
    std::string why;
    try {
      const Watchdog::Watch watch(dog_, name.c_str(), kMakeLimit);
      made.emplace(std::forward<F>(make)());
    } catch (const std::exception& error) {
      why = error.what();
    }
    if (!agree(name, why)) return std::nullopt;
    return made;
  }

  /// Measures them in turn, block by block, each round after a barrier; prints, also after a
  /// failure, which it then throws: what is stuck on the GPU would be in the way of whatever comes
  /// next.
  void run(std::vector<Contender>& contenders, unsigned rounds, const std::string& unit);
  /// Prints what has been measured otherwise; each value counts as a block.
  void report(const std::string& name, const std::vector<double>& values, const std::string& unit);

 private:
  void measure(std::vector<Contender>& contenders, unsigned rounds);
  bool agree(const std::string& name, const std::string& why);
  void report_failure(const std::string& name, const std::string& why);

  Session& job_;
  Settings settings_;
  Group control_;
  Watchdog dog_;
  std::string gpu_name_;
};

}  // namespace lockstep::bench::gpu
