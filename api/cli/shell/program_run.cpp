// fork, a pipe if the output is wanted, and a poll loop with signals as events.
#include "api/cli/shell/program_run.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/poll_set.hpp"
#include "api/cli/program.hpp"
#include "api/cli/shell/exit_codes.hpp"
#include "api/cli/signal_watch.hpp"
#include "api/cli/unique_fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <lockstep/lockstep.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace lockstep::cli::shell {
namespace {

void execute(const std::string& path, const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  // As a shell does for a script without #!.
  execvp(path.c_str(), argv.data());
  fmt::print(stderr, "lockstep: cannot run '{}': {}\n", path, std::strerror(errno));
  std::fflush(stderr);
}

class Running {
 public:
  Running(const std::string& path, const std::vector<std::string>& words, int agent_fd,
          bool takes_output)
      : agent_fd_(agent_fd) {
    struct sigaction on_broken_pipe {};
    sigset_t mask;
    sigaction(SIGPIPE, nullptr, &on_broken_pipe);
    sigprocmask(SIG_SETMASK, nullptr, &mask);
    signals_.emplace();
    UniqueFd its_output;
    if (takes_output) its_output = open_pipe();
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) {
      throw CommandError(kExitFailed,
                         fmt::format("cannot start '{}': {}", path, std::strerror(errno)));
    }
    if (pid_ > 0) return;
    // What the others take for failed must not go on behind their backs.
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) _exit(kExitSignalBase + SIGKILL);
    if (takes_output) dup2(its_output.get(), STDOUT_FILENO);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    execute(path, words);
    _exit(kExitNotExecutable);
  }

  Ended to_its_end() {
    Ended ended;
    while (!is_over_ || output_.is_open()) turn(ended);
    ended.exit_code =
        WIFEXITED(status_) ? WEXITSTATUS(status_) : kExitSignalBase + WTERMSIG(status_);
    return ended;
  }

  [[nodiscard]] int status() const { return status_; }

 private:
  UniqueFd open_pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw CommandError(kExitFailed, "no pipe");
    output_ = UniqueFd(ends[0]);
    return UniqueFd(ends[1]);
  }

  void turn(Ended& ended) {
    PollSet polls;
    if (!is_over_) polls.add(signals_->fd(), POLLIN, [this] { heed_signals(); });
    if (output_.is_open()) polls.add(output_.get(), POLLIN, [&] { read_output(ended); });
    // Hang-up is always reported; words of the agent can wait.
    if (!is_over_ && !is_alone_) {
      polls.add(agent_fd_, 0, [this] {
        is_alone_ = true;
        kill(pid_, SIGKILL);
      });
    }
    polls.wait(std::nullopt);
  }

  void heed_signals() {
    for (const int number : signals_->take()) {
      if (number == SIGTSTP) kill(getpid(), SIGSTOP);
      // The others go to all processes of a terminal's or a task's, so the program has its own.
      if (number == SIGTERM || number == SIGHUP) kill(pid_, number);
    }
    if (waitpid(pid_, &status_, WNOHANG) == pid_) is_over_ = true;
  }

  void read_output(Ended& ended) {
    std::array<char, 65536> part;
    const ssize_t got = read(output_.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) return output_.reset();
    ended.output.append(part.data(), static_cast<std::size_t>(got));
    // The exit code travels in front of it.
    constexpr std::size_t kOutputMax = LOCKSTEP_BYTES_MAX - sizeof ended.exit_code;
    if (ended.output.size() <= kOutputMax) return;
    ended.failure = fmt::format(
        "its output is longer than {} bytes; write it to a file, and print "
        "its path",
        kOutputMax);
    output_.reset();  // it gets SIGPIPE
  }

  int agent_fd_;
  std::optional<SignalWatch> signals_;
  UniqueFd output_;
  pid_t pid_ = 0;
  int status_ = 0;
  bool is_over_ = false;
  bool is_alone_ = false;
};

std::string how_it_ended(const std::string& program, int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("'{}' was killed by signal {} ({})", program, WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
  }
  return fmt::format("'{}' exited with code {}", program, WEXITSTATUS(status));
}

}  // namespace

Ended run_program(const std::vector<std::string>& words, const Environment& environment,
                  int agent_fd, bool takes_output) {
  Ended ended;
  try {
    Running running(find_program(words.front(), environment), words, agent_fd, takes_output);
    ended = running.to_its_end();
    if (!ended.failure.empty()) {
      ended = {.exit_code = kExitFailed,
               .failure = fmt::format("'{}': {}", words.front(), ended.failure),
               .output = {}};
      fmt::print(stderr, "lockstep: {}\n", ended.failure);
    } else if (ended.exit_code != 0 && !takes_output) {
      ended.failure = how_it_ended(words.front(), running.status());
    }
  } catch (const CommandError& error) {
    fmt::print(stderr, "lockstep: {}\n", error.what());
    ended = {
        .exit_code = error.exit_code(), .failure = takes_output ? "" : error.what(), .output = {}};
  }
  return ended;
}

void become_program(const std::vector<std::string>& words, const Environment& environment) {
  execute(find_program(words.front(), environment), words);
  throw CommandError(kExitNotExecutable, "it was to be run after the first one");
}

}  // namespace lockstep::cli::shell
