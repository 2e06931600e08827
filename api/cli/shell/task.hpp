// Which task of which job this command belongs to, and which process is that task.
#pragma once

#include "api/cli/environment.hpp"
#include "api/cli/unique_fd.hpp"

#include <sys/types.h>

#include <string>

namespace lockstep::cli::shell {

struct Task {
  std::string name;  ///< of its agent's socket, without the leading NUL of an abstract one
  pid_t process = 0;
};

/// Of the calling process. Throws CommandError, with what to type, if no launcher has started it.
[[nodiscard]] Task find_task(const Environment& environment);

/// Becomes readable when the task's process has ended.
[[nodiscard]] UniqueFd watch_process(const Task& task);

}  // namespace lockstep::cli::shell
