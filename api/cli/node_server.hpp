// The process that stands for one node: it serves PMIx to its ranks, starts them and reaps them.
#pragma once

#include "api/cli/job_spec.hpp"
#include "api/cli/unique_fd.hpp"

namespace lockstep::cli {

/// Runs until the launcher says `finish` or is gone, and leaves neither process nor file behind.
/// Call in a forked process with one thread and SIGCHLD blocked; its stdin becomes rank 0's. Ends
/// the process: exit code 0, or 1 after a failure that it has told the launcher about.
[[noreturn]] void run_node_server(const JobSpec& job, NodeIndex node, UniqueFd channel);

}  // namespace lockstep::cli
