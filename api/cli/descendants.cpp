// Children are found in /proc: a process group would miss those that called setsid(2).
#include "api/cli/descendants.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace lockstep::cli {
namespace {

constexpr int kRoundsMax = 400;
constexpr std::chrono::milliseconds kRoundPause{5};

// Fields 3 and 4 of /proc/PID/stat; the name before them may itself contain blanks and brackets.
bool is_child_of(pid_t pid, pid_t parent) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 4 > line.size()) return false;
  const std::string_view rest = std::string_view(line).substr(name_end + 4);
  pid_t found = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), found);
  return found == parent;
}

}  // namespace

void adopt_orphans() {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

std::vector<pid_t> list_children() {
  const pid_t parent = getpid();
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failure != std::errc{} || end != name.data() + name.size()) continue;
    if (is_child_of(pid, parent)) children.push_back(pid);
  }
  return children;
}

void kill_children(const std::vector<pid_t>& spared) {
  for (int round = 0; round < kRoundsMax; ++round) {
    std::size_t doomed = 0;
    for (const pid_t pid : list_children()) {
      if (std::find(spared.begin(), spared.end(), pid) != spared.end()) continue;
      ++doomed;
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, WNOHANG);
    }
    if (doomed == 0) return;
    std::this_thread::sleep_for(kRoundPause);
  }
}

}  // namespace lockstep::cli
