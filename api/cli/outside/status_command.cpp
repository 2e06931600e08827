// `lockstep status`: where every rank of running jobs is, without stopping or slowing them.
#include "api/cli/command_error.hpp"
#include "api/cli/commands.hpp"
#include "api/cli/outside/answers.hpp"
#include "api/cli/outside/look.hpp"
#include "api/cli/outside/slurm.hpp"

#include <fmt/format.h>

#include <memory>
#include <string>

namespace lockstep::cli {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  lockstep status               all sessions on this machine: yours, or everybody's for root\n"
    "  lockstep status 4711          a Slurm job, from anywhere; 4711.0 is one of its steps\n"
    "  lockstep status 4711 --all    a line for each rank\n"
    "\n"
    "A rank 'waits' in a call since the time that is shown; 'has arrived' where it is not in the\n"
    "wait, or not yet for 1 ms. Nothing is known of what it does between two calls.\n"
    "Exit code: 0; 3 if a node did not answer; 1 if nothing was found or it cannot be looked at.";

struct Options {
  std::string what;
  bool shows_all = false;
  bool is_json = false;
  bool is_here = false;
  double patience_s = kPatienceDefault;
};

void print_picture(const Picture& picture, const Options& options) {
  if (options.is_json) {
    fmt::print("{}\n", as_json(picture).dump(2));
    return;
  }
  for (const SessionView& session : picture.sessions) {
    fmt::print("{}", in_words(session));
    if (options.shows_all) fmt::print("{}", as_table(session));
  }
  for (const std::string& refusal : picture.refused) fmt::print("not shown: {}\n", refusal);
  if (picture.silent.empty()) return;
  std::string names;
  for (const std::string& node : picture.silent) names += (names.empty() ? "" : ", ") + node;
  fmt::print("no answer within {:g} s from {}\n", options.patience_s, names);
}

void show(const Options& options, CommandContext& context) {
  if (options.is_here) {
    fmt::print("{}", wrap_answer(own_node(context.environment), sessions_here()));
    return;
  }
  const Picture picture = look(options.what, context.environment, patience_of(options.patience_s));
  if (picture.sessions.empty() && !options.is_json && picture.silent.empty()) {
    for (const std::string& refusal : picture.refused) fmt::print(stderr, "{}\n", refusal);
    throw CommandError(1, why_nothing(options.what));
  }
  print_picture(picture, options);
  if (!picture.silent.empty()) context.exit_code = kExitIncomplete;
}

}  // namespace

void add_status_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command = app.add_subcommand(
      "status", "Show where every rank of a running job is, and whom it waits for");
  command->footer(kFooter);
  auto options = std::make_shared<Options>();
  command->add_option("JOB", options->what,
                      "A Slurm job or step, or a session's name; without it: this machine");
  command->add_flag("--all", options->shows_all, "Also a line for each rank");
  command->add_flag("--json", options->is_json, "Print JSON");
  command->add_option("--patience", options->patience_s, "Seconds to wait for nodes")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_flag("--here", options->is_here)->group("");  // how it visits nodes
  command->callback([options, &context] { show(*options, context); });
}

}  // namespace lockstep::cli
