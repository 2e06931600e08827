// A task is what the launcher says it is: all processes with the same PMIx identity. Its process is
// the topmost of them, so that a subshell, a pipe or $(...) finds the same one as the script
// itself.
#include "api/cli/shell/task.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/shell/exit_codes.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

namespace lockstep::cli::shell {
namespace {

constexpr int kAncestorsMax = 1000;

std::string contents(pid_t process, const char* file) {
  std::ifstream stream(fmt::format("/proc/{}/{}", process, file), std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The words behind the name in /proc/PID/stat; the name may itself contain blanks and brackets.
std::vector<std::string> stat_words(pid_t process) {
  const std::string line = contents(process, "stat");
  std::vector<std::string> words;
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return words;
  for (std::size_t at = name_end + 2; at < line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

constexpr std::size_t kParentWord = 1;
constexpr std::size_t kStartWord = 19;

pid_t parent_of(pid_t process) {
  const std::vector<std::string> words = stat_words(process);
  pid_t parent = 0;
  if (words.size() > kParentWord) {
    const std::string& word = words[kParentWord];
    std::from_chars(word.data(), word.data() + word.size(), parent);
  }
  return parent;
}

/// Was it started with this identity? What cannot be read is somebody else's.
bool was_started_with(pid_t process, const std::vector<std::string>& identity) {
  const std::string variables = contents(process, "environ");
  return std::all_of(identity.begin(), identity.end(), [&](const std::string& entry) {
    const std::string line = entry + '\0';
    return variables.starts_with(line) || variables.find('\0' + line) != std::string::npos;
  });
}

/// Those that are in the environment, as NAME=VALUE.
std::vector<std::string> entries_of(const Environment& environment,
                                    const std::vector<std::string_view>& prefixes) {
  std::vector<std::string> found;
  for (const std::string& entry : environment.entries()) {
    const auto fits = [&entry](std::string_view prefix) { return entry.starts_with(prefix); };
    if (std::any_of(prefixes.begin(), prefixes.end(), fits)) found.push_back(entry);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string hash(const std::vector<std::string>& words) {
  std::uint64_t value = 14695981039346656037u;  // FNV-1a
  for (const std::string& word : words) {
    for (const char byte : word + '\0') {
      value = (value ^ static_cast<unsigned char>(byte)) * 1099511628211u;
    }
  }
  return fmt::format("{:016x}", value);
}

/// The server's address is in it: two servers that live at the same time have different ones, so
/// that neither another cluster's job of the same number nor a stale twin has the same name.
Task task_of_pmix(const Environment& environment) {
  const std::vector<std::string> identity =
      entries_of(environment, {"PMIX_NAMESPACE=", "PMIX_RANK="});
  Task task;
  task.process = getpid();
  pid_t parent = getppid();
  for (int i = 0; i < kAncestorsMax && parent > 0 && was_started_with(parent, identity); ++i) {
    task.process = parent;
    parent = parent_of(parent);
  }
  task.name = "lockstep.task." +
              hash(entries_of(environment, {"PMIX_NAMESPACE=", "PMIX_RANK=", "PMIX_SERVER_URI",
                                            "SLURM_RESTART_COUNT="}));
  return task;
}

/// What shells call a job is one here too: its leader is the script, if it runs still.
Task task_of_one() {
  Task task;
  task.process = kill(getpgrp(), 0) == 0 ? getpgrp() : getppid();
  const std::vector<std::string> words = stat_words(task.process);
  task.name = "lockstep.task." + hash({"single", std::to_string(task.process),
                                       words.size() > kStartWord ? words[kStartWord] : ""});
  return task;
}

}  // namespace

Task find_task(const Environment& environment) {
  if (environment.find("LOCKSTEP_BOOTSTRAP") == "single") return task_of_one();
  if (!environment.find("PMIX_NAMESPACE") || !environment.find("PMIX_RANK")) {
    throw CommandError(kExitFailed,
                       "this script was not started as a task of a job; type: srun --mpi=pmix bash "
                       "SCRIPT, or: lockstep run -n 4 bash SCRIPT, or, if it is meant to be a job "
                       "of one: LOCKSTEP_BOOTSTRAP=single");
  }
  return task_of_pmix(environment);
}

UniqueFd watch_process(const Task& task) {
  // By number, since glibc has a name for it only from 2.36 on.
  UniqueFd watch(static_cast<int>(syscall(SYS_pidfd_open, task.process, 0)));
  if (!watch.is_open()) {
    throw CommandError(kExitFailed, fmt::format("the end of the task's process {} cannot be "
                                                "watched: {}; Linux 5.3 or newer is needed",
                                                task.process, std::strerror(errno)));
  }
  return watch;
}

}  // namespace lockstep::cli::shell
