// A program that is asked for an answer: started, read until its end, and ended if it takes long.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "runtime/base/time.hpp"

namespace lockstep::lifecycle {

struct Answer {
  std::string output;  ///< and its errors, where they are wanted
  int exit_code = 0;   ///< 127: there is no such program, as in a shell; 128 + n: ended by signal n

  bool is_good() const noexcept { return exit_code == 0; }
};

enum class Errors { dropped, in_output };

/// Runs `words`, a program found in PATH and its arguments, with nothing to read. Nothing if it has
/// not ended within `patience`, or before `stop` is requested; it is then killed. Any thread, also
/// of a program that has its children reaped for it (the exit code then counts as good).
std::optional<Answer> ask(const std::vector<std::string>& words, Errors errors, Nanos patience,
                          const std::stop_token& stop = {});

}  // namespace lockstep::lifecycle
