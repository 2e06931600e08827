// The `lockstep` command: one table of subcommands, and the exit codes that scripts rely on.
#include "api/cli/command_error.hpp"
#include "api/cli/commands.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pmix_version.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

namespace {

using namespace lockstep::cli;

// A new subcommand is one line here and one declaration in commands.hpp.
constexpr std::array<AddCommand, 10> kCommands = {
    add_run_command,  add_status_command, add_trigger_command, add_info_command,
    add_topo_command, add_bench_command,  add_barrier_command, add_first_command,
    add_once_command, add_agent_command,
};

constexpr const char* kFooter =
    "Example:\n"
    "  lockstep run -n 8 --nodes 4 ./train     8 ranks on 4 emulated nodes of this machine\n"
    "  srun --mpi=pmix ./train                 the same program on a real cluster\n"
    "  lockstep first -- fetch_data /shared    in a script that srun starts: one does it first\n"
    "\n"
    "'lockstep COMMAND --help' tells more; so does the manual page lockstep(1).";

// In the reverse order that CLI11 wants.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto mark = std::find(words.begin(), words.end(), "--");
  if (mark != words.end()) *mark = kEndOfOptions;
  std::reverse(words.begin(), words.end());
  return words;
}

int run_command_line(int argc, char** argv) {
  CommandContext context{.environment = Environment(environ)};
  CLI::App app{
      "Deferred execution for jobs of many processes: wait for everyone, one goes first,\n"
      "act together on a trigger.",
      "lockstep"};
  app.set_version_flag("--version",
                       fmt::format("lockstep {} (PMIx {}.{}.{})", LOCKSTEP_VERSION,
                                   PMIX_VERSION_MAJOR, PMIX_VERSION_MINOR, PMIX_VERSION_RELEASE),
                       "Show the versions of lockstep and of PMIx, then exit");
  app.require_subcommand(0, 1);
  app.failure_message([](const CLI::App* one, const CLI::Error& error) {
    return "lockstep: " + CLI::FailureMessage::simple(one, error);
  });
  app.footer(kFooter);
  for (const AddCommand add : kCommands) add(app, context);
  try {
    app.parse(words_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitBadUse;
  } catch (const CommandError& error) {
    fmt::print(stderr, "lockstep {}: {}\n", app.get_subcommands().front()->get_name(),
               error.what());
    return error.exit_code();
  }
  if (app.get_subcommands().empty()) {
    fmt::print(stderr, "{}", app.help());
    return kExitBadUse;
  }
  return context.exit_code;
}

// A descriptor that came closed would be the next file's that is opened, and its bytes the user's.
void open_standard_streams() {
  for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;
    close(fd);
    return;
  }
}

// What was printed is only then written; a full disk must not look like success.
int flushed(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  fmt::print(stderr, "lockstep: stdout cannot be written: {}\n", std::strerror(errno));
  return exit_code == 0 ? 1 : exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  try {
    return flushed(run_command_line(argc, argv));
  } catch (const std::system_error& error) {
    // fmt's words for a long output, of which a part is written before the end.
    const bool is_output = std::ferror(stdout) != 0;
    fmt::print(stderr, "lockstep: {}{}\n", is_output ? "stdout cannot be written: " : "",
               is_output ? error.code().message() : error.what());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "lockstep: {}\n", error.what());
    return 1;
  }
}
