// `lockstep trigger`: asks a running job to fire its trigger, and says whether it has noticed.
#include "api/cli/command_error.hpp"
#include "api/cli/commands.hpp"
#include "api/cli/outside/answers.hpp"
#include "api/cli/outside/look.hpp"
#include "api/cli/outside/slurm.hpp"

#include <fmt/format.h>
#include <lockstep/lockstep.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace lockstep::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter =
    "Examples:\n"
    "  lockstep trigger 4711 --reason 'maintenance at noon'    all ranks leave at their next "
    "check\n"
    "  lockstep trigger 4711.0 stop                            only the trigger named 'stop'\n"
    "  lockstep trigger set stop; lockstep trigger check stop  in the job's own script\n"
    "\n"
    "A job notices it in lockstep_check_trigger(), on all ranks in the same call; one that never\n"
    "checks never does. What last_trigger() and LOCKSTEP_RECORD then say is 'request', who asked,\n"
    "and the reason. Exit code: 0 if the job has noticed it; 3 if it was asked and has not "
    "noticed\n"
    "it in time: the request stands; 1 if it could not be asked.";

struct Options {
  std::string what;
  std::string name;
  std::string reason;
  std::string from;
  std::string session;
  double wait_s = kPatienceDefault;
  double patience_s = kPatienceDefault;
  bool is_here = false;
};

std::string who_asks() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const passwd* const user = getpwuid(geteuid());
  return fmt::format("{}@{}", user != nullptr ? user->pw_name : std::to_string(geteuid()),
                     host.data());
}

/// Asks a session whose rank 0 is on this machine.
Json ask_here(const std::string& session, const Options& options) {
  lockstep_request_t request{};
  request.size = sizeof request;
  request.session = session.c_str();
  request.name = options.name.empty() ? nullptr : options.name.c_str();
  request.from = options.from.c_str();
  request.reason = options.reason.c_str();
  request.timeout_ns = static_cast<std::int64_t>(options.wait_s * 1e9);
  std::uint64_t check = 0;
  const lockstep_status_t status = lockstep_request_trigger(&request, &check);
  return {{"status", static_cast<int>(status)},
          {"check", check},
          {"text", status == LOCKSTEP_OK ? "" : lockstep_last_error()}};
}

/// On the node where rank 0 is, by way of Slurm.
Json ask_there(const SessionView& session, const SlurmId& id, const Options& options,
               const Environment& environment) {
  const std::string& node = session.visited.at(0);
  const Slurm slurm(environment, patience_of(options.patience_s + options.wait_s));
  std::vector<std::string> words = {"trigger", "--here", "--session=" + session.id,
                                    fmt::format("--wait={}s", options.wait_s)};
  // An empty value would take the next word for its own.
  if (!options.name.empty()) words.push_back("--name=" + options.name);
  if (!options.reason.empty()) words.push_back("--reason=" + options.reason);
  words.push_back("--from=" + options.from);
  const NodeAnswers answers = slurm.visit(slurm.find(id), words, node);
  if (answers.by_node.empty()) {
    throw CommandError(1, fmt::format("{} did not answer, so it is not known whether the job was "
                                      "asked; type: lockstep status {}",
                                      node, options.what));
  }
  return Json::parse(answers.by_node.begin()->second);
}

const SessionView& choose(const Picture& picture, const Options& options) {
  if (picture.sessions.empty() && picture.silent.empty()) {
    throw CommandError(1, why_nothing(options.what));
  }
  if (picture.sessions.size() > 1) {
    std::string names;
    for (const SessionView& one : picture.sessions) {
      const bool is_step = !one.slurm_step.empty();
      names +=
          (names.empty() ? "" : ", ") + (is_step ? one.slurm_job + "." + one.slurm_step : one.name);
    }
    throw CommandError(1, fmt::format("job {} has {} sessions: {}; type one of them", options.what,
                                      picture.sessions.size(), names));
  }
  if (picture.sessions.empty() || !picture.sessions.front().hosts.contains(0)) {
    std::string silent;
    for (const std::string& node : picture.silent) silent += " " + node;
    throw CommandError(
        1, silent.empty()
               ? "the session's rank 0 is on another machine; ask there"
               : fmt::format("the node of rank 0 did not answer, so nothing was asked; silent:{}",
                             silent));
  }
  return picture.sessions.front();
}

void tell(const Json& answer, CommandContext& context) {
  const int status = answer.at("status");
  const std::string text = answer.at("text");
  if (status == LOCKSTEP_OK) {
    fmt::print("asked; rank 0 noticed it at check {}\n", answer.at("check").get<std::uint64_t>());
  } else if (status == LOCKSTEP_AGAIN) {
    fmt::print("asked; {}\n", text);
    context.exit_code = kExitIncomplete;
  } else {
    throw CommandError(1, text);
  }
}

void trigger(Options& options, CommandContext& context) {
  if (options.is_here) {
    fmt::print("{}", wrap_answer(own_node(context.environment),
                                 ask_here(options.session, options).dump()));
    return;
  }
  if (options.what.empty()) {
    throw CommandError(kExitBadUse, "which job? 'lockstep status' shows those of this machine");
  }
  options.from = who_asks();
  const Picture picture = look(options.what, context.environment, patience_of(options.patience_s));
  const SessionView& session = choose(picture, options);
  const auto id = read_slurm_id(options.what);
  tell(id ? ask_there(session, *id, options, context.environment) : ask_here(session.id, options),
       context);
}

}  // namespace

void add_trigger_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command = app.add_subcommand(
      "trigger", "Ask a running job to fire its trigger: all ranks leave at the same step");
  command->footer(kFooter);
  auto options = std::make_shared<Options>();
  command->add_option("JOB", options->what,
                      "A Slurm job or step, or a session of this machine as 'lockstep status' "
                      "names it");
  command->add_option("NAME,--name", options->name,
                      "Of an open trigger, or of the check that is to take it; none: any check");
  command->add_option("--reason", options->reason, "Why, for the job's report");
  const auto durations = CLI::AsNumberWithUnit(
      std::map<std::string, double>{{"ms", 0.001}, {"s", 1}, {"min", 60}, {"h", 3600}},
      CLI::AsNumberWithUnit::CASE_SENSITIVE, "DURATION");
  command->add_option("--wait", options->wait_s, "How long to wait for the job to notice it")
      ->transform(durations)
      ->check(CLI::Range(0.0, 1e6))
      ->default_str("10s");
  command->add_option("--patience", options->patience_s, "Seconds to wait for nodes")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  for (CLI::Option* const hidden : {command->add_flag("--here", options->is_here),
                                    command->add_option("--session", options->session),
                                    command->add_option("--from", options->from)}) {
    hidden->group("");
  }
  add_trigger_set_command(*command, context);
  add_trigger_check_command(*command, context);
  command->require_subcommand(0, 1);
  command->callback([options, command, &context] {
    if (command->get_subcommands().empty()) trigger(*options, context);
  });
}

}  // namespace lockstep::cli
