// Runs a job: one node server per emulated node, and one verdict on how the job ended.
#pragma once

#include "api/cli/job_spec.hpp"

namespace lockstep::cli {

/// Returns the exit code of the command when no process and no file of the job is left. Call with
/// one thread. Changes the signal mask of the process for good.
[[nodiscard]] int launch(const JobSpec& job);

}  // namespace lockstep::cli
