// Says once, at the start, what in the job's submission defeats what its user has asked for.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "runtime/config/config.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::lifecycle {

/// A signal that Slurm sends to the batch script alone.
struct BatchSignal {
  int signal;
  std::string option;  ///< as it was typed: "--signal=B:USR1@60"
};
/// The one that a batch script asks for, unless it traps it or ends in `exec srun`: then it knows
/// what it does.
std::optional<BatchSignal> find_batch_signal(std::string_view script);
/// The one that is asked for as the value of --signal, or of SBATCH_SIGNAL.
std::optional<int> read_batch_signal(std::string_view value);

/// What `scontrol show config` says that ends a step after one rank has ended; with what to type.
std::vector<std::string> find_step_enders(std::string_view config);

/// Asks Slurm on threads of its own, where there is something to ask. For one process of a job.
class Adviser {
 public:
  /// `is_attached`: this process stays a client of PMIx.
  void start(const Config& config, const Environment& environment, bool is_attached);
  /// The ranks await this signal.
  void await(int signal);

 private:
  void look_for_batch_signal(const std::stop_token& stop);
  void say_what_is_lost();

  std::string batch_job_;  ///< empty: this is none
  std::mutex mutex_;
  std::vector<int> awaited_;
  std::optional<BatchSignal> batch_signal_;
  std::jthread about_signals_;  // last: they use the rest
  std::jthread about_step_;
};

}  // namespace lockstep::lifecycle
