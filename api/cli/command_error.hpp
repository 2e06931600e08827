// The one exception of the command: a message for the user and the exit code that goes with it.
#pragma once

#include <stdexcept>
#include <string>

namespace lockstep::cli {

/// What a shell and other launchers use for these; scripts test for them.
constexpr int kExitBadUse = 2;
constexpr int kExitTimeLimit = 124;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitSignalBase = 128;

class CommandError : public std::runtime_error {
 public:
  CommandError(int exit_code, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code) {}
  [[nodiscard]] int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

}  // namespace lockstep::cli
