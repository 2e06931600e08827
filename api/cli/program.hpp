// Finds the program before anything is started, so that a typing error costs one clear line.
#pragma once

#include "api/cli/environment.hpp"

#include <string>

namespace lockstep::cli {

/// The path that will be executed. Throws CommandError 127 (not found) or 126 (not executable).
[[nodiscard]] std::string find_program(const std::string& name, const Environment& environment);

}  // namespace lockstep::cli
