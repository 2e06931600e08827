// The subcommands: each file adds its own to the parser, main.cpp lists them.
#pragma once

#include "api/cli/environment.hpp"

#include <CLI/CLI.hpp>

namespace lockstep::cli {

/// What every subcommand gets, and where it leaves its exit code.
struct CommandContext {
  Environment environment;
  int exit_code = 0;
};

/// Adds one subcommand; its callback runs while the command line is parsed and may throw
/// CommandError. `context` outlives the parser.
using AddCommand = void (*)(CLI::App& app, CommandContext& context);

/// Stands for the "--" before a program's name: CLI11 would end the subcommand there.
constexpr const char* kEndOfOptions = "\x1f--";

void add_agent_command(CLI::App& app, CommandContext& context);
void add_barrier_command(CLI::App& app, CommandContext& context);
void add_bench_command(CLI::App& app, CommandContext& context);
void add_first_command(CLI::App& app, CommandContext& context);
void add_info_command(CLI::App& app, CommandContext& context);
void add_once_command(CLI::App& app, CommandContext& context);
void add_run_command(CLI::App& app, CommandContext& context);
void add_status_command(CLI::App& app, CommandContext& context);
void add_topo_command(CLI::App& app, CommandContext& context);
void add_trigger_command(CLI::App& app, CommandContext& context);

/// Of `lockstep trigger`: what a job's own script types.
void add_trigger_set_command(CLI::App& trigger, CommandContext& context);
void add_trigger_check_command(CLI::App& trigger, CommandContext& context);

}  // namespace lockstep::cli
