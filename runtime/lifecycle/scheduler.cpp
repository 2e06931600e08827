// Asks through squeue: it is where Slurm is, speaks to any version, and links nothing into
// programs.
#include "runtime/lifecycle/scheduler.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "runtime/base/unique_fd.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::lifecycle {
namespace {

constexpr Nanos kMinute = 60 * kSecond;

std::optional<Nanos> read_number(std::string_view text) {
  Nanos value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  constexpr Nanos kMost = 1'000'000;
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > kMost) {
    return std::nullopt;
  }
  return value;
}

/// A child whose output is read until its end, or until patience ends.
class Question {
 public:
  explicit Question(const std::string& job) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
    answer_.reset(ends[0]);
    const UniqueFd mine(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, mine.get(), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
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
    std::string id = job;
    std::array<std::string, 6> words = {"squeue", "--noheader", "--jobs",
                                        id,       "--format",   "%L|%T|%r"};
    std::array<char*, 7> argv{};
    std::transform(words.begin(), words.end(), argv.begin(),
                   [](auto& word) { return word.data(); });
    if (posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(),
                     Environment::to_inherit()) != 0)
      pid_ = -1;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Question() {
    if (pid_ <= 0) return;
    if (!has_ended_) kill(pid_, SIGKILL);
    // Fails where the program has children reaped for it.
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;

  std::string read_until(Nanos deadline) {
    std::string text;
    std::array<char, 512> part{};
    while (pid_ > 0 && !has_ended_) {
      const Nanos left = deadline - now();
      pollfd one{answer_.get(), POLLIN, 0};
      if (left <= 0) return {};
      if (poll(&one, 1, static_cast<int>(left / kMillisecond) + 1) <= 0) continue;
      const ssize_t count = ::read(answer_.get(), part.data(), part.size());
      has_ended_ = count <= 0;
      if (count > 0) text.append(part.data(), static_cast<std::size_t>(count));
    }
    return text;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd answer_;
  bool has_ended_ = false;
};

}  // namespace

std::optional<Nanos> read_slurm_time(std::string_view text) {
  Nanos days = 0;
  if (const auto dash = text.find('-'); dash != std::string_view::npos) {
    const std::optional<Nanos> number = read_number(text.substr(0, dash));
    if (!number) return std::nullopt;
    days = *number;
    text.remove_prefix(dash + 1);
  }
  Nanos seconds = 0;
  int parts = 0;
  for (; !text.empty() && parts < 3; ++parts) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::optional<Nanos> number = read_number(text.substr(0, colon));
    if (!number || colon + 1 == text.size()) return std::nullopt;
    seconds = seconds * 60 + *number;
    text.remove_prefix(std::min(colon + 1, text.size()));
  }
  if (parts < 2 || !text.empty()) return std::nullopt;
  return (days * 24 * 60 * 60 + seconds) * kSecond;
}

std::optional<JobState> read_job_state(std::string_view line) {
  line = line.substr(0, line.find('\n'));
  const auto first = line.find('|');
  const auto second = first == std::string_view::npos ? first : line.find('|', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  JobState state;
  state.left = read_slurm_time(line.substr(0, first));
  state.state = line.substr(first + 1, second - first - 1);
  state.reason = line.substr(second + 1);
  if (state.state.empty()) return std::nullopt;
  return state;
}

Ending ending_of(const JobState& state, Nanos left_before) {
  if (state.reason == "TimeLimit" || state.state == "TIMEOUT") return Ending::time_limit;
  if (state.state == "PREEMPTED" || state.state == "PENDING") return Ending::preemption;
  if (state.state == "RUNNING" && state.left && *state.left < left_before - kMinute) {
    return Ending::preemption;
  }
  if (state.state == "COMPLETING" || state.state == "CANCELLED") return Ending::cancel;
  return Ending::unknown;
}

std::optional<JobState> ask_slurm(const std::string& job, Nanos patience) {
  const Nanos deadline = after(now(), patience);
  Question question(job);
  return read_job_state(question.read_until(deadline));
}

}  // namespace lockstep::lifecycle
