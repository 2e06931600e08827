// The way to the task's agent: found by name, checked, and made when nobody is there yet.
#pragma once

#include "api/cli/shell/task.hpp"
#include "api/cli/unique_fd.hpp"

namespace lockstep::cli::shell {

/// A connection to the agent of this task, which is started if there is none. Throws CommandError.
[[nodiscard]] UniqueFd reach_agent(const Task& task);

}  // namespace lockstep::cli::shell
