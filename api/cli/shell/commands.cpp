// What a job script types: barrier, first, once, trigger set and trigger check; and their agent.
#include "api/cli/commands.hpp"
#include "api/cli/command_error.hpp"
#include "api/cli/program_words.hpp"
#include "api/cli/shell/agent.hpp"
#include "api/cli/shell/exit_codes.hpp"
#include "api/cli/shell/visitor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <lockstep/lockstep.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace lockstep::cli {
namespace {

using shell::Action;
using shell::Scope;
using shell::Visit;

constexpr const char* kGroup = "In a job script";
constexpr double kTimeoutMax = 1e7;  // 115 days; keeps deadlines far from overflow

const std::map<std::string, Scope> kScopes = {{"job", Scope::job},
                                              {"node", Scope::node},
                                              {"numa", Scope::numa},
                                              {"switch", Scope::leaf_switch},
                                              {"gpu-group", Scope::gpu_group}};
constexpr std::string_view kFilesScope = "files:";

constexpr const char* kExitCodes =
    "Exit code: that of the program, 128 + N if signal N killed it, 126 or 127 if it cannot be "
    "run;\n"
    "123 if the one that went first has failed, 124 if --timeout has passed, 125 if the job cannot "
    "go\n"
    "on together.";

/// Words that the command line gave, until they become a visit.
struct Words {
  Visit visit;
  std::string scope = "job";
  std::string timeout;
  bool is_quiet = false;
  bool is_verbose = false;
};

// CLI11 does not know that the words after the options are the program's.
class ProgramFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string) const override {
    return fmt::format("Usage: lockstep {} [OPTIONS] -- PROGRAM [ARGS...]\n", app->get_name());
  }
};

std::int64_t read_timeout(const std::string& text) {
  if (text.empty()) return LOCKSTEP_DEFAULT;
  if (text == "never") return LOCKSTEP_FOREVER;
  const std::map<std::string, double> units = {{"ms", 0.001}, {"s", 1},    {"m", 60},
                                               {"min", 60},   {"h", 3600}, {"", 1}};
  const std::size_t unit_at = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto unit = units.find(text.substr(unit_at));
  double number = 0;
  const bool is_number = CLI::detail::lexical_cast(text.substr(0, unit_at), number);
  const double seconds = is_number && unit != units.end() ? number * unit->second : 0;
  if (seconds >= 0.001 && seconds <= kTimeoutMax) return static_cast<std::int64_t>(seconds * 1e9);
  throw CommandError(kExitBadUse, fmt::format("--timeout {}: not a time like 500ms, 30s, 5min or "
                                              "2h, nor never",
                                              text));
}

std::string check_name(const std::string& name) {
  return name.size() <= shell::kNameMax
             ? ""
             : fmt::format("a name has at most {} bytes", shell::kNameMax);
}

std::shared_ptr<Words> words_for(Action action) {
  auto words = std::make_shared<Words>();
  words->visit.request.action = action;
  return words;
}

void add_name(CLI::App& command, Words& words, const char* option, const char* help) {
  command.add_option(option, words.visit.request.name, help)
      ->type_name("TEXT")
      ->check(CLI::Validator(check_name, ""));
}

void add_timeout(CLI::App& command, Words& words, const char* help) {
  command.add_option("--timeout", words.timeout, help)->type_name("TIME");
}

void add_scope(CLI::App& command, Words& words) {
  command
      .add_option(
          "--scope", words.scope,
          "Whom it concerns: all tasks; those of this node, NUMA domain or switch; or those "
          "who see the same files in DIR")
      ->type_name("job|node|numa|switch|gpu-group|files:DIR")
      ->capture_default_str();
}

void read_scope(const std::string& text, shell::Request& request) {
  if (const auto known = kScopes.find(text); known != kScopes.end()) {
    request.scope = known->second;
    return;
  }
  const bool is_files = text.starts_with(kFilesScope) && text.size() > kFilesScope.size();
  if (!is_files) {
    throw CommandError(kExitBadUse, fmt::format("--scope {}: not one of job, node, numa, "
                                                "switch, gpu-group and files:DIR",
                                                text));
  }
  request.scope = Scope::file_system;
  // The agent may be in another folder.
  request.path = std::filesystem::absolute(text.substr(kFilesScope.size())).string();
  if (request.path.size() > shell::kPathMax) {
    throw CommandError(kExitBadUse, fmt::format("a path has at most {} bytes", shell::kPathMax));
  }
}

/// 'set' and 'check' are also names that a check from outside may have.
void check_trigger_words(const CLI::App& command, const Words& words) {
  if (command.get_parent()->count("JOB") > 0) {
    throw CommandError(
        kExitBadUse, fmt::format("a check of that name is written: lockstep trigger JOB --name={}",
                                 command.get_name()));
  }
  if (!words.visit.request.name.empty()) return;
  throw CommandError(kExitBadUse, fmt::format("which trigger? type: lockstep trigger {} NAME",
                                              command.get_name()));
}

void go(Words& words, CommandContext& context) {
  read_scope(words.scope, words.visit.request);
  words.visit.request.timeout_ns = read_timeout(words.timeout);
  if (words.is_verbose) words.visit.words = shell::Words::all;
  if (words.is_quiet) words.visit.words = shell::Words::none;
  context.exit_code = shell::pay(words.visit, context.environment);
}

void add_program_command(CLI::App& app, CommandContext& context, Action action, const char* name,
                         const char* help, const std::string& footer) {
  CLI::App* const command = app.add_subcommand(name, help)->group(kGroup);
  const auto words = words_for(action);
  add_scope(*command, *words);
  add_name(*command, *words, "--name", "For reports; all must give the same");
  add_timeout(*command, *words, "How long the others wait for the first (default: never give up)");
  command->prefix_command();
  command->formatter(std::make_shared<ProgramFormatter>());
  command->footer(footer);
  command->callback([words, command, &context] {
    words->visit.program = program_words(*command);
    go(*words, context);
  });
}

void no_signal(int) {}

/// A signal that the script catches, or that is none of the agent's business, must not end it; what
/// the library is told to catch (LOCKSTEP_SIGNALS) it does. Not SIG_IGN: it would be inherited.
void outlive_signals() {
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU,
                           SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU}) {
    struct sigaction before {};
    if (sigaction(number, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = no_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void be_agent() {
  UniqueFd listener(shell::kListenerFd);
  UniqueFd task(shell::kTaskFd);
  if (fcntl(listener.get(), F_SETFD, FD_CLOEXEC) != 0 ||
      fcntl(task.get(), F_SETFD, FD_CLOEXEC) != 0) {
    throw CommandError(kExitBadUse, "commands in a job script start it; type: lockstep barrier");
  }
  outlive_signals();
  // It is the last to leave: the record of a program in the script would be lost under its own.
  unsetenv("LOCKSTEP_RECORD");
  shell::Agent(std::move(listener), std::move(task)).run();
}

}  // namespace

void add_barrier_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command =
      app.add_subcommand("barrier", "Wait until all tasks have come here")->group(kGroup);
  const auto words = words_for(Action::barrier);
  add_scope(*command, *words);
  add_name(*command, *words, "--name", "For reports; all must give the same");
  add_timeout(*command, *words, "How long to wait (default: LOCKSTEP_TIMEOUT, or else 10 min)");
  command->footer(
      "Example:\n"
      "  lockstep barrier --name unpacked --timeout 30min\n"
      "\n"
      "Exit code: 0 if all were here; 124 if somebody was missing at the deadline, who is then "
      "named,\n"
      "and 125 for all else that breaks the job. After either the job cannot go on together.");
  command->callback([words, &context] { go(*words, context); });
}

void add_first_command(CLI::App& app, CommandContext& context) {
  add_program_command(app, context, Action::first, "first",
                      "Run a program on all tasks, on the first one before the others",
                      fmt::format("Examples:\n"
                                  "  lockstep first -- wget --no-clobber -P /shared $url\n"
                                  "  lockstep first --scope node -- rsync -a /shared/set /tmp\n"
                                  "\n"
                                  "The others run it once the first is done, and so find what it "
                                  "has made. If it fails there,\n"
                                  "they do not run it.\n{}",
                                  kExitCodes));
}

void add_once_command(CLI::App& app, CommandContext& context) {
  add_program_command(app, context, Action::once, "once",
                      "Run a program on one task; all print its output and exit as it does",
                      fmt::format("Example:\n"
                                  "  run_id=$(lockstep once -- date +%s)     the same on all\n"
                                  "\n"
                                  "Its standard output, up to 16 MiB, is printed by all, byte for "
                                  "byte; its standard error\n"
                                  "stays where it runs.\n{}",
                                  kExitCodes));
}

void add_trigger_set_command(CLI::App& trigger, CommandContext& context) {
  CLI::App* const command =
      trigger.add_subcommand("set", "In a job script: all tasks' next check of NAME fires");
  const auto words = words_for(Action::set_trigger);
  add_name(*command, *words, "NAME", "Of the trigger");
  command->callback([words, command, &context] {
    check_trigger_words(*command, *words);
    go(*words, context);
  });
}

void add_trigger_check_command(CLI::App& trigger, CommandContext& context) {
  CLI::App* const command = trigger.add_subcommand(
      "check", "In a job script: has any task set NAME? All tasks get the same answer");
  const auto words = words_for(Action::check_trigger);
  add_name(*command, *words, "NAME", "Of the trigger");
  add_timeout(*command, *words, "How long to wait for the others (default: as barrier)");
  command->add_flag("--verbose", words->is_verbose, "Every task prints why it fired, not only one");
  command->add_flag("--quiet", words->is_quiet, "No task does");
  command->footer(
      "Example:\n"
      "  if lockstep trigger check stop; then break; fi\n"
      "\n"
      "It also fires for a signal (LOCKSTEP_SIGNALS), the time limit (LOCKSTEP_STOP_BEFORE_END), "
      "and\n"
      "what 'lockstep trigger JOB' asks from outside. The reason is on standard error.\n"
      "Exit code: 0 if it has fired, 1 if not, 124 and 125 as of barrier.");
  command->callback([words, command, &context] {
    check_trigger_words(*command, *words);
    go(*words, context);
  });
}

void add_agent_command(CLI::App& app, CommandContext&) {
  CLI::App* const command = app.add_subcommand(shell::kAgentCommand, "What these commands talk to");
  command->group("");
  command->callback([] { be_agent(); });
}

}  // namespace lockstep::cli
