// The wording of the launcher's reports.
#include "api/cli/report.hpp"

#include "api/cli/command_error.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cstring>

namespace lockstep::cli {
namespace {

constexpr std::size_t kNamesMax = 16;
constexpr int kExitCodeMax = 255;

}  // namespace

int exit_code_of(int wait_status) {
  if (WIFSIGNALED(wait_status)) return kExitSignalBase + WTERMSIG(wait_status);
  return WEXITSTATUS(wait_status);
}

std::string how_it_ended(int wait_status) {
  if (!WIFSIGNALED(wait_status)) {
    return fmt::format("exited with code {}", WEXITSTATUS(wait_status));
  }
  const int number = WTERMSIG(wait_status);
  const char* text = sigdescr_np(number);
  return fmt::format("was killed by signal {} ({}){}", number, text == nullptr ? "unknown" : text,
                     WCOREDUMP(wait_status) ? ", core dumped" : "");
}

int exit_code_of_abort(std::int32_t code) {
  return code > 0 && code <= kExitCodeMax ? code : 1;
}

std::string signal_text(int signal_number) {
  const char* name = sigabbrev_np(signal_number);
  const char* text = sigdescr_np(signal_number);
  if (name == nullptr || text == nullptr) return fmt::format("signal {}", signal_number);
  return fmt::format("SIG{} ({})", name, text);
}

std::string name_text(const RankName& name) {
  return fmt::format("rank {} on {} (pid {})", name.rank, node_name(name.node), name.pid);
}

std::string names_text(const std::vector<RankName>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kNamesMax; ++i) {
    text += (i == 0 ? "" : ", ") + name_text(names[i]);
  }
  if (names.size() > kNamesMax) text += fmt::format(" and {} more", names.size() - kNamesMax);
  return text;
}

std::string fate_text(const Survivors& survivors) {
  if (survivors.count == 0) return "";
  const std::string others = survivors.count == 1
                                 ? std::string("the other rank")
                                 : fmt::format("the other {} ranks", survivors.count);
  if (survivors.keep_going) {
    return fmt::format("; {} {} on", others, survivors.count == 1 ? "runs" : "run");
  }
  return fmt::format("; ending {} (use --keep-going to let {} run on)", others,
                     survivors.count == 1 ? "it" : "them");
}

}  // namespace lockstep::cli
