// When the job must end: what the environment says, then what the scheduler says once a minute.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/base/time.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::lifecycle {

class EndOfJob {
 public:
  explicit EndOfJob(const Environment& environment);

  /// Keeps asking from now on, on a thread of its own. One process of a job does that.
  void start_asking();

  /// Time to the end as last heard; kNever if there is no limit or nobody said. Never blocks.
  Nanos left() const noexcept;

  /// Empty outside Slurm.
  const std::string& slurm_job() const noexcept { return job_; }

 private:
  void ask(const std::stop_token& stop);

  std::string job_;
  std::atomic<Nanos> end_ = kNever;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the rest
};

}  // namespace lockstep::lifecycle
