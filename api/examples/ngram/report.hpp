// What the example prints; kept apart from what it does.
#pragma once

#include "lockstep/lockstep.hpp"

#include "dataset.hpp"
#include "options.hpp"
#include "training.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace ngram {

/// Prints on the main process, or not at all. Not collective, except rank_table().
class Report {
 public:
  Report(lockstep::Session& session, const Options& options)
      : session_(session), options_(options), start_(std::chrono::steady_clock::now()) {}

  void greeting();
  void dataset(const std::string& where, bool is_new);
  void node_caches(const Dataset& data, std::uint32_t copies);
  /// Says where an interrupted run goes on.
  void start_of_steps(const Training& training);
  /// At most some forty lines, however many steps there are.
  void progress(const Training& training);
  /// `askers`: the ranks that raised the trigger.
  void end_of_steps(const Training& training, const std::vector<std::uint32_t>& askers);
  /// A line per rank, in the order of ranks. Collective.
  void rank_table(const Training& training, const std::vector<std::uint32_t>& askers);
  /// `runs_again`: Slurm will be asked for it.
  void interruption(bool runs_again);
  void result(const Model& model, std::uint64_t hash, double perplexity);

 private:
  void say(const std::string& text);

  lockstep::Session& session_;
  const Options& options_;
  std::chrono::steady_clock::time_point start_;
  double last_shown_ = 0;
};

}  // namespace ngram
