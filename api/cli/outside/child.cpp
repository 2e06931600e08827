// posix_spawn, two pipes, and a deadline.
#include "api/cli/outside/child.hpp"

#include "api/cli/unique_fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace lockstep::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kGrace{3000};  // srun needs some of it to end the step
constexpr std::size_t kOutputMax = 1u << 28;

struct Pipe {
  UniqueFd mine;
  UniqueFd its;
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
    mine = UniqueFd(ends[0]);
    its = UniqueFd(ends[1]);
  }
};

pid_t start(const std::vector<std::string>& words, const Environment& environment, const Pipe& out,
            const Pipe& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.its.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.its.get(), STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> variables;
  for (const std::string& entry : environment.entries()) {
    variables.push_back(const_cast<char*>(entry.c_str()));
  }
  variables.push_back(nullptr);
  pid_t pid = -1;
  if (posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), variables.data()) != 0) pid = -1;
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

/// Adds what there is; false at the end.
bool read_some(UniqueFd& from, std::string& to) {
  std::array<char, 16384> part;
  const ssize_t got = read(from.get(), part.data(), part.size());
  if (got > 0) {
    to.append(part.data(), static_cast<std::size_t>(got));
    return to.size() < kOutputMax;
  }
  return got < 0 && errno == EINTR;
}

/// Reads until both ends are closed or the time is over; true in the first case.
bool read_until(Clock::time_point deadline, Pipe& out, Pipe& err, ChildResult& result) {
  while (out.mine.is_open() || err.mine.is_open()) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    std::array<pollfd, 2> items{{{out.mine.is_open() ? out.mine.get() : -1, POLLIN, 0},
                                 {err.mine.is_open() ? err.mine.get() : -1, POLLIN, 0}}};
    if (poll(items.data(), items.size(), static_cast<int>(std::min<long>(left + 1, 60'000))) <= 0) {
      continue;
    }
    if (items[0].revents != 0 && !read_some(out.mine, result.out)) out.mine.reset();
    if (items[1].revents != 0 && !read_some(err.mine, result.err)) err.mine.reset();
  }
  return true;
}

}  // namespace

ChildResult run_child(const std::vector<std::string>& words, const Environment& environment,
                      milliseconds patience) {
  ChildResult result;
  Pipe out;
  Pipe err;
  const pid_t pid = start(words, environment, out, err);
  out.its.reset();
  err.its.reset();
  if (pid < 0) {
    result.exit_code = 127;
    return result;
  }
  if (!read_until(Clock::now() + patience, out, err, result)) {
    result.is_late = true;
    kill(pid, SIGTERM);
    ChildResult rest;
    if (!read_until(Clock::now() + kGrace, out, err, rest)) kill(pid, SIGKILL);
    result.out += rest.out;
    result.err += rest.err;
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace lockstep::cli
