// posix_spawn and a pipe: no shell, and no copy of a process that may be large.
#include "runtime/lifecycle/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "runtime/base/unique_fd.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::lifecycle {
namespace {

class Child {
 public:
  Child(std::vector<std::string> words, Errors errors) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
    output_.reset(ends[0]);
    const UniqueFd mine(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, mine.get(), STDOUT_FILENO);
    if (errors == Errors::in_output) {
      posix_spawn_file_actions_adddup2(&actions, mine.get(), STDERR_FILENO);
    } else {
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    }
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // The rank may block or ignore signals; what it starts must still be possible to end.
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::vector<char*> argv;
    std::transform(words.begin(), words.end(), std::back_inserter(argv),
                   [](auto& word) { return word.data(); });
    argv.push_back(nullptr);
    const bool is_started = posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(),
                                         Environment::to_inherit()) == 0;
    if (!is_started) pid_ = -1;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool is_started() const noexcept { return pid_ > 0; }

  /// All that it writes; nothing if that has no end before the deadline or the stop.
  std::optional<std::string> read_until(Nanos deadline, const std::stop_token& stop) {
    constexpr Nanos kSlice = 100 * kMillisecond;
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
      const Nanos left = std::min(deadline - now(), kSlice);
      if (left <= 0 || stop.stop_requested()) return std::nullopt;
      pollfd one{output_.get(), POLLIN, 0};
      if (poll(&one, 1, static_cast<int>(left / kMillisecond) + 1) <= 0) continue;
      const ssize_t count = ::read(output_.get(), part.data(), part.size());
      if (count <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(count));
    }
  }

  /// Its exit code; 0 where the program has children reaped for it.
  int wait() noexcept {
    int status = 0;
    pid_t ended = 0;
    while ((ended = waitpid(pid_, &status, 0)) < 0 && errno == EINTR) {
    }
    const bool is_known = ended == pid_;
    pid_ = -1;
    if (!is_known) return 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = -1;
  UniqueFd output_;
};

}  // namespace

std::optional<Answer> ask(const std::vector<std::string>& words, Errors errors, Nanos patience,
                          const std::stop_token& stop) {
  const Nanos deadline = after(now(), patience);
  Child child(words, errors);
  constexpr int kNoSuchProgram = 127;
  if (!child.is_started()) return Answer{words.front() + " was not found", kNoSuchProgram};
  std::optional<std::string> output = child.read_until(deadline, stop);
  if (!output) return std::nullopt;
  return Answer{std::move(*output), child.wait()};
}

}  // namespace lockstep::lifecycle
