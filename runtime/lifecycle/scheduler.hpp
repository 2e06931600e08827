// What the scheduler says about this job: how long it may run, and why it is being ended.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::lifecycle {

/// One answer of Slurm's.
struct JobState {
  std::optional<Nanos> left;           ///< to its end; nothing: it has none, or none is said
  std::optional<Nanos> left_by_limit;  ///< of its time limit; more than that if it is preempted
  bool has_end = false;                ///< a time at which it ends, or has ended
  std::string state;                   ///< "RUNNING", "COMPLETING", ...
  std::string reason;                  ///< "None", "TimeLimit", ...
};

/// This job as Slurm's commands take it; empty outside Slurm. An element of an array by array and
/// number: the number of the job alone may mean all of them.
std::string slurm_job_of(const Environment& environment);

/// "D-HH:MM:SS", "HH:MM:SS" or "MM:SS", as squeue prints times; nothing for words and all else.
std::optional<Nanos> read_slurm_time(std::string_view text);

/// A line of `squeue -o '%e|%L|%T|%r'` with times in seconds, read at second `wall_clock`.
std::optional<JobState> read_job_state(std::string_view line, std::int64_t wall_clock);

enum class Ending { unknown, time_limit, preemption, requeue, cancel };

/// Why a job in this state was sent SIGTERM. Slurm tells apart what it ends for good; a preempted
/// job runs on to an end that has come before its time limit's, or, without grace, is queued again
/// at once and has no end any more.
Ending ending_of(const JobState& state);

/// Asks Slurm, which takes some tens of milliseconds when it is well. Nothing if it does not answer
/// within `patience`, or before `stop` is requested. Starts a process.
std::optional<JobState> ask_slurm(const std::string& job, Nanos patience,
                                  const std::stop_token& stop = {});

/// Has Slurm end the job and queue it again; its processes are sent SIGTERM soon after. The text of
/// a failure is Slurm's.
Status requeue(const std::string& job, Nanos patience);
/// From now on Slurm does not queue the job again by itself either.
Status forbid_requeue(const std::string& job, Nanos patience);

}  // namespace lockstep::lifecycle
