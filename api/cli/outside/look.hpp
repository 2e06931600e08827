// Gets a picture of what runs: on this machine, or on the nodes of a Slurm job.
#pragma once

#include "api/cli/environment.hpp"
#include "api/cli/outside/picture.hpp"

#include <chrono>
#include <string>

namespace lockstep::cli {

inline constexpr double kPatienceDefault = 10;  ///< seconds
inline constexpr int kExitIncomplete = 3;       ///< asked, but the whole answer has not come

std::chrono::milliseconds patience_of(double seconds);

/// `what`: empty, a Slurm job or step, or a session's name or number. Throws CommandError.
Picture look(const std::string& what, const Environment& environment,
             std::chrono::milliseconds patience);
/// For people, where a picture has no session.
std::string why_nothing(const std::string& what);

/// lockstep_sessions_json() in one line.
std::string sessions_here();
/// This node's name to Slurm, or the host's.
std::string own_node(const Environment& environment);

}  // namespace lockstep::cli
