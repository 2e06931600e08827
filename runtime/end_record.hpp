// How a run ended, for whoever starts the next one: a small JSON file, written by the main process.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>

#include "lockstep/lockstep.h"
#include "runtime/base/result.hpp"
#include "runtime/bootstrap/identity.hpp"

namespace lockstep {

struct LastSave {
  std::string path;
  std::time_t at = 0;
  double seconds = 0;
};

/// What was agreed on: whether the scheduler is to run the job again.
struct RequeueDecision {
  bool is_wanted = false;  ///< else: never
  Rank rank = 0;           ///< the lowest that said so
  std::string text;        ///< why, if it said so
  std::string error;       ///< the scheduler's, if it refused
};

struct EndRecord {
  std::time_t started = 0;
  std::string slurm_job;       ///< empty outside Slurm
  std::uint32_t restarts = 0;  ///< how often the scheduler has started this job before
  std::uint64_t checks = 0;    ///< calls of lockstep_check_trigger that completed
  std::optional<lockstep_trigger_report_t> stop;  ///< the last that fired
  std::optional<LastSave> save;
  std::optional<RequeueDecision> requeue;

  Status write(const std::string& path, const bootstrap::Identity& who) const;
};

const char* reason_name(std::int32_t reason);

}  // namespace lockstep
