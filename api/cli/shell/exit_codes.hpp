// With what commands in a job script exit, besides what their program exits with.
#pragma once

#include "api/cli/command_error.hpp"

namespace lockstep::cli::shell {

/// `trigger check`: it has not fired.
constexpr int kExitNotFired = 1;
/// The program of the one that went first has failed; what xargs(1) says of its programs.
constexpr int kExitFirstFailed = 123;
/// Somebody was missing at the deadline; what timeout(1) says.
constexpr int kExitMissing = kExitTimeLimit;
/// lockstep itself could not: no job, no agent, a broken job; what env(1) and timeout(1) say.
constexpr int kExitFailed = 125;

}  // namespace lockstep::cli::shell
