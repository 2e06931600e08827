// The program of `first` and `once`, where it goes first.
#pragma once

#include "api/cli/environment.hpp"
#include "api/cli/shell/protocol.hpp"

#include <string>
#include <vector>

namespace lockstep::cli::shell {

/// Runs it to its end. It has this command's place in the script: its streams, its folder, its
/// process group; it is killed if this command is, or if the agent behind `agent_fd` goes.
/// @param takes_output  Its standard output goes to Ended::output instead.
[[nodiscard]] Ended run_program(const std::vector<std::string>& words,
                                const Environment& environment, int agent_fd, bool takes_output);

/// Becomes the program.
[[noreturn]] void become_program(const std::vector<std::string>& words,
                                 const Environment& environment);

}  // namespace lockstep::cli::shell
