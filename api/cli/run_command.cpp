// `lockstep run`: its options, and how they become one checked job description.
#include "api/cli/command_error.hpp"
#include "api/cli/commands.hpp"
#include "api/cli/cpu_units.hpp"
#include "api/cli/launcher.hpp"
#include "api/cli/program.hpp"
#include "api/cli/program_words.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace lockstep::cli {
namespace {

constexpr double kSecondsMax = 1e7;  // 115 days; keeps deadlines far from overflow

const std::map<std::string, BindUnit> kBindUnits = {{"none", BindUnit::none},
                                                    {"hwthread", BindUnit::hwthread},
                                                    {"core", BindUnit::core},
                                                    {"numa", BindUnit::numa},
                                                    {"package", BindUnit::package}};
const std::map<std::string, Mapping> kMappings = {{"block", Mapping::block},
                                                  {"cyclic", Mapping::cyclic}};

struct RunOptions {
  std::optional<std::int64_t> ranks;
  std::optional<std::int64_t> nodes;
  std::optional<std::int64_t> ranks_per_node;
  std::string mapping = "block";
  std::optional<std::string> switches;
  std::string bind = "none";
  std::optional<double> time_limit;
  double grace = 2;
  bool tags_output = false;
  bool keeps_going = false;
  bool is_verbose = false;
  std::vector<std::string> assignments;
};

constexpr const char* kFooter =
    "Examples:\n"
    "  lockstep run -n 8 --nodes 4 ./train --epochs 3\n"
    "  lockstep run -n 7 --nodes 3 --tag-output --verbose hostname    shares of 3, 2 and 2\n"
    "  lockstep run -n 4 --timeout 60 --env LOG=debug python3 train.py\n"
    "\n"
    "The nodes are emulated: each has a PMIx server of its own, so a rank sees what it would see "
    "on\n"
    "that many hosts. Exit code: 0 if all ranks exit 0, else that of the first one that was "
    "killed\n"
    "(128 + the signal), or else of the first that failed; 124 past --timeout, 130 after Ctrl-C, "
    "126 or 127 if the\n"
    "program cannot be run, 2 for a bad command line.";

// CLI11 does not know that the words after the program are the program's.
class RunFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: lockstep run [OPTIONS] PROGRAM [ARGS...]\n";
  }
};

std::vector<std::string> keys_of(const auto& table) {
  std::vector<std::string> keys;
  keys.reserve(table.size());
  for (const auto& [key, value] : table) keys.push_back(key);
  return keys;
}

std::string check_assignment(const std::string& text) {
  const std::size_t equals = text.find('=');
  return equals == std::string::npos || equals == 0 ? "must be NAME=VALUE: " + text : "";
}

std::string check_seconds(const std::string& text) {
  double value = 0;
  const bool is_fine = CLI::detail::lexical_cast(text, value) && value > 0 && value <= kSecondsMax;
  return is_fine ? ""
                 : fmt::format("{}: not a number of seconds above 0, up to {}", text, kSecondsMax);
}

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
}

void say(const std::string& text) {
  fmt::print(stderr, "lockstep run: {}\n", text);
}

std::vector<CpuList> choose_cpus(const RunOptions& options, Rank ranks) {
  const std::vector<CpuList> units = usable_units(kBindUnits.at(options.bind));
  if (!units.empty() && units.size() < ranks) {
    say(fmt::format("warning: --bind {}: {} ranks share {} unit{}", options.bind, ranks,
                    units.size(), units.size() == 1 ? "" : "s"));
  }
  return bind_in_turn(units, ranks);
}

// The number keeps jobs apart whose launchers have the same process id in different containers.
std::string make_job_name() {
  std::random_device random;
  return fmt::format("lockstep-{}-{:08x}", getpid(), random());
}

JobSpec make_job(const RunOptions& options, const Environment& environment,
                 const std::vector<std::string>& words) {
  JobSpec job;
  job.inherited = InheritedSettings::now();
  job.placement = place({.ranks = options.ranks,
                         .nodes = options.nodes,
                         .ranks_per_node = options.ranks_per_node,
                         .mapping = kMappings.at(options.mapping)});
  if (options.switches) {
    job.switches = spread_over_switches(*options.switches, job.placement.node_count());
  }
  job.environment = environment.without_outer_launcher();
  for (const std::string& assignment : options.assignments) job.environment.set(assignment);
  job.program = find_program(words.front(), job.environment);
  job.arguments = words;
  job.cpus = choose_cpus(options, job.placement.size());
  if (options.time_limit) job.time_limit = milliseconds_of(*options.time_limit);
  job.grace = milliseconds_of(options.grace);
  job.tags_output = options.tags_output;
  job.keeps_going = options.keeps_going;
  job.temporary_base = environment.find("TMPDIR").value_or("/tmp");
  job.name = make_job_name();
  return job;
}

void run(const RunOptions& options, const CLI::App& command, CommandContext& context) {
  const JobSpec job = make_job(options, context.environment, program_words(command));
  if (options.is_verbose) {
    say(fmt::format("{}: {} rank{} on {} node{}", job.program, job.placement.size(),
                    job.placement.size() == 1 ? "" : "s", job.placement.node_count(),
                    job.placement.node_count() == 1 ? "" : "s"));
    fmt::print(stderr, "{}", placement_table(job.placement, job.cpus));
  }
  context.exit_code = launch(job);
}

void add_placement_options(CLI::App& run, RunOptions& options) {
  const char* group = "Placement";
  run.add_option("-n,--ranks", options.ranks,
                 fmt::format("Number of ranks, up to {} (default: nodes times ppn)", kRanksMax))
      ->type_name("N")
      ->group(group);
  run.add_option("--nodes", options.nodes,
                 fmt::format("Number of emulated nodes, up to {} (default: 1, or as many as --ppn "
                             "makes necessary)",
                             kNodesMax))
      ->type_name("K")
      ->group(group);
  run.add_option("--ppn", options.ranks_per_node, "At most this many ranks on a node")
      ->type_name("M")
      ->group(group);
  run.add_option("--map", options.mapping,
                 "block: consecutive ranks share a node; cyclic: rank i goes to node i modulo K")
      ->type_name("HOW")
      ->capture_default_str()
      ->check(CLI::IsMember(keys_of(kMappings)))
      ->group(group);
  run.add_option(
         "--switches", options.switches,
         "Emulate switches that the nodes are spread over: how many, or how many nodes each "
         "has, like 3,1")
      ->type_name("S|LIST")
      ->group(group);
  run.add_option("--bind", options.bind, "Give each rank one such unit in turn")
      ->type_name("UNIT")
      ->capture_default_str()
      ->check(CLI::IsMember(keys_of(kBindUnits)))
      ->group(group);
}

void add_running_options(CLI::App& run, RunOptions& options) {
  const char* group = "Running";
  const CLI::Validator seconds(check_seconds, "");
  run.add_option("--timeout", options.time_limit, "End the job after this time with exit code 124")
      ->type_name("SECONDS")
      ->check(seconds)
      ->group(group);
  run.add_option("--grace", options.grace, "Time from SIGTERM to SIGKILL when the job is ended")
      ->type_name("SECONDS")
      ->capture_default_str()
      ->check(seconds)
      ->group(group);
  run.add_flag("--keep-going", options.keeps_going, "Let the others run on when a rank fails")
      ->group(group);
  run.add_flag("--tag-output", options.tags_output,
               "Write whole lines, each with [rank@node] before it")
      ->group(group);
  run.add_option("--env", options.assignments, "Set a variable for the ranks (may be repeated)")
      ->type_name("NAME=VALUE")
      ->check(CLI::Validator(check_assignment, ""))
      ->allow_extra_args(false)
      ->group(group);
  run.add_flag("--verbose", options.is_verbose, "Show which rank goes where")->group(group);
}

}  // namespace

void add_run_command(CLI::App& app, CommandContext& context) {
  CLI::App* command = app.add_subcommand("run", "Run a program on many ranks of this machine");
  const auto options = std::make_shared<RunOptions>();
  add_placement_options(*command, *options);
  add_running_options(*command, *options);
  command->prefix_command();
  command->formatter(std::make_shared<RunFormatter>());
  command->footer(kFooter);
  command->callback([options, command, &context] { run(*options, *command, context); });
}

}  // namespace lockstep::cli
