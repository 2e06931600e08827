// Runs a tool of Slurm's and reads what it prints, for as long as one has patience.
#pragma once

#include "api/cli/environment.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace lockstep::cli {

struct ChildResult {
  int exit_code = 0;  ///< 127: it could not be started
  bool is_late = false;
  std::string out;
  std::string err;
};

/// Ends it when patience is over: first by SIGTERM, a little later by SIGKILL. stdin is empty.
ChildResult run_child(const std::vector<std::string>& words, const Environment& environment,
                      std::chrono::milliseconds patience);

}  // namespace lockstep::cli
