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
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "runtime/base/unique_fd.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::lifecycle {
namespace {

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
    // Times as seconds, whatever the user likes to read.
    std::array<std::string, 8> words = {
        "env",      "SLURM_TIME_FORMAT=%s", "squeue", "--noheader", "--jobs", id,
        "--format", "%e|%L|%T|%r"};
    std::array<char*, 9> argv{};
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

std::optional<JobState> read_job_state(std::string_view line, std::int64_t wall_clock) {
  line = line.substr(0, line.find('\n'));
  std::array<std::string_view, 4> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t bar = i + 1 < fields.size() ? line.find('|') : line.size();
    if (bar == std::string_view::npos) return std::nullopt;
    fields[i] = line.substr(0, bar);
    line.remove_prefix(std::min(bar + 1, line.size()));
  }
  const auto& [end, left, state, reason] = fields;
  if (state.empty()) return std::nullopt;
  JobState answer;
  answer.left_by_limit = read_slurm_time(left);
  answer.state = state;
  answer.reason = reason;
  std::int64_t seconds = 0;
  const auto [rest, error] = std::from_chars(end.data(), end.data() + end.size(), seconds);
  const bool is_number = error == std::errc() && rest == end.data() + end.size();
  constexpr std::int64_t kMost = INT64_MAX / kSecond / 2;
  // "NONE" for a job without a limit; its end, if one is named, is none.
  if (is_number && answer.left_by_limit && std::abs(seconds) < kMost) {
    answer.left = (seconds - wall_clock) * kSecond;
  }
  return answer;
}

Ending ending_of(const JobState& state) {
  if (state.reason == "TimeLimit" || state.state == "TIMEOUT") return Ending::time_limit;
  if (state.state == "PREEMPTED" || state.state == "PENDING") return Ending::preemption;
  if (state.state == "COMPLETING" || state.state == "CANCELLED") return Ending::cancel;
  constexpr Nanos kInexact = 5 * kSecond;
  const bool is_moved = state.left && *state.left < *state.left_by_limit - kInexact;
  return is_moved ? Ending::preemption : Ending::unknown;
}

std::optional<JobState> ask_slurm(const std::string& job, Nanos patience) {
  const Nanos deadline = after(now(), patience);
  Question question(job);
  const std::string line = question.read_until(deadline);
  return read_job_state(line, std::time(nullptr));
}

}  // namespace lockstep::lifecycle
