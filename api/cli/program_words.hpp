// The program that a subcommand is to run: the words after its own options.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace lockstep::cli {

/// Of a subcommand with prefix_command(). Throws CommandError if there are none, or if the first
/// one looks like an option: it would be taken for the program's name.
[[nodiscard]] std::vector<std::string> program_words(const CLI::App& command);

}  // namespace lockstep::cli
