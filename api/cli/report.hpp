// The sentences that tell how a rank or a job ended, and the exit code that goes with it: pure.
#pragma once

#include "api/cli/placement.hpp"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::cli {

/// What a shell would report for a wait status: the exit code, or 128 + the signal.
[[nodiscard]] int exit_code_of(int wait_status);
/// "exited with code 7", "was killed by signal 9 (Killed)".
[[nodiscard]] std::string how_it_ended(int wait_status);
/// The exit code of a job that was aborted with `code`: what a process can exit with, and not 0.
[[nodiscard]] int exit_code_of_abort(std::int32_t code);
/// "SIGTERM (Terminated)".
[[nodiscard]] std::string signal_text(int signal_number);

struct RankName {
  Rank rank;
  NodeIndex node;
  pid_t pid;
};
/// "rank 3 on n1 (pid 4711)".
[[nodiscard]] std::string name_text(const RankName& name);
/// Some of them by name, then how many more.
[[nodiscard]] std::string names_text(const std::vector<RankName>& names);

/// What happens to the others after a failure: "; ending the other 7 ranks (...)", or nothing.
struct Survivors {
  std::size_t count;
  bool keep_going;
};
[[nodiscard]] std::string fate_text(const Survivors& survivors);

}  // namespace lockstep::cli
