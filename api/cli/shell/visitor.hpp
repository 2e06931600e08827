// One command of a job script: has the task's agent do it, and waits for the answer.
#pragma once

#include "api/cli/environment.hpp"
#include "api/cli/shell/protocol.hpp"

#include <string>
#include <vector>

namespace lockstep::cli::shell {

/// What is printed of a success: by one rank, by all, by none.
enum class Words { one, all, none };

struct Visit {
  Request request;
  std::vector<std::string> program{};  ///< of `first` and `once`
  Words words = Words::one;
};

/// The exit code. Starts the agent if this is the task's first command; waits as long as the agent
/// does. Throws CommandError if the agent cannot be reached.
[[nodiscard]] int pay(const Visit& visit, const Environment& environment);

}  // namespace lockstep::cli::shell
