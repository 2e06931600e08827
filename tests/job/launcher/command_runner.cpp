// fork and exec, pipes, and a walk through /proc.
#include "tests/job/launcher/command_runner.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

namespace lockstep::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// Far above what any of these jobs takes; only a hang gets there.
constexpr auto kHang = 30s;
constexpr auto kDying = 5s;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The number that `text` begins with; 0 if there is none.
pid_t pid_from(std::string_view text) {
  pid_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

// The fields after the name: state, parent, ...
std::pair<char, pid_t> state_and_parent(pid_t pid) {
  const std::string stat = content_of(fmt::format("/proc/{}/stat", pid));
  const std::size_t end = stat.rfind(')');
  if (end == std::string::npos || stat.size() < end + 5) return {'Z', 0};
  return {stat[end + 2], pid_from(std::string_view(stat).substr(end + 4))};
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) ADD_FAILURE() << "no pipe";
  return ends;
}

[[noreturn]] void become(const Words& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(125);
}

}  // namespace

Command::Command(const Words& words, const Options& options) {
  static int count = 0;
  mark_ = fmt::format("LOCKSTEP_TEST_MARK=mark-{}-{}-", getpid(), ++count);
  std::string name = (fs::temp_directory_path() / "lockstep-test-XXXXXX").string();
  folder_ = mkdtemp(name.data());
  const std::array<int, 2> in = make_pipe();
  const std::array<int, 2> out = make_pipe();
  const std::array<int, 2> err = make_pipe();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(options.merges_streams ? out[1] : err[1], STDERR_FILENO);
    const std::size_t equals = mark_.find('=');
    setenv(mark_.substr(0, equals).c_str(), mark_.substr(equals + 1).c_str(), 1);
    setenv("TMPDIR", folder_.c_str(), 1);
    for (const std::string& entry : options.environment) {
      const std::size_t end = entry.find('=');
      setenv(entry.substr(0, end).c_str(), entry.substr(end + 1).c_str(), 1);
    }
    become(words);
  }
  for (const int fd : {in[0], out[1], err[1]}) close(fd);
  if (write(in[1], options.input.data(), options.input.size()) < 0) ADD_FAILURE() << "no input";
  close(in[1]);
  out_fd_ = out[0];
  err_fd_ = err[0];
}

Command::~Command() {
  for (const pid_t pid : processes()) kill(pid, SIGKILL);
  if (!has_ended_) waitpid(pid_, nullptr, 0);
  for (const int fd : {out_fd_, err_fd_}) {
    if (fd >= 0) close(fd);
  }
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void Command::read_some(std::chrono::milliseconds at_most) {
  std::array<pollfd, 2> fds{{{.fd = out_fd_, .events = POLLIN, .revents = 0},
                             {.fd = err_fd_, .events = POLLIN, .revents = 0}}};
  poll(fds.data(), fds.size(), static_cast<int>(at_most.count()));
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (fds[i].revents == 0) continue;
    std::array<char, 65536> chunk;
    const ssize_t length = read(fds[i].fd, chunk.data(), chunk.size());
    int& fd = i == 0 ? out_fd_ : err_fd_;
    if (length <= 0) {
      close(fd);
      fd = -1;
    } else {
      (i == 0 ? result_.out : result_.err).append(chunk.data(), static_cast<std::size_t>(length));
    }
  }
}

void Command::wait_for_output(const std::string& text) {
  const auto limit = Clock::now() + kHang;
  while (result_.out.find(text) == std::string::npos && out_fd_ >= 0 && Clock::now() < limit) {
    read_some(100ms);
  }
  EXPECT_NE(result_.out.find(text), std::string::npos) << "never said: " << text << result_.err;
}

void Command::wait_for_processes(std::size_t count) const {
  const auto limit = Clock::now() + kHang;
  while (processes().size() < count && Clock::now() < limit) usleep(1'000);
  EXPECT_GE(processes().size(), count);
}

Result Command::wait() {
  const auto limit = Clock::now() + kHang;
  while ((out_fd_ >= 0 || err_fd_ >= 0) && Clock::now() < limit) read_some(100ms);
  if (Clock::now() >= limit) {
    ADD_FAILURE() << "hangs; stdout: " << result_.out << " stderr: " << result_.err;
    for (const pid_t pid : processes()) kill(pid, SIGKILL);
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  has_ended_ = true;
  result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

std::vector<pid_t> Command::processes() const {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const pid_t pid = pid_from(entry.path().filename().string());
    if (pid <= 0 || pid == getpid()) continue;
    if (content_of(entry.path() / "environ").find(mark_) == std::string::npos) continue;
    if (state_and_parent(pid).first != 'Z') found.push_back(pid);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<pid_t> Command::children_of(pid_t parent) const {
  std::vector<pid_t> found = processes();
  std::erase_if(found, [parent](pid_t pid) { return state_and_parent(pid).second != parent; });
  return found;
}

void Command::expect_nothing_left() const {
  const auto limit = Clock::now() + kDying;
  while (Clock::now() < limit && !(processes().empty() && fs::is_empty(folder_))) usleep(10'000);
  for (const pid_t pid : processes()) {
    ADD_FAILURE() << "process left: " << pid << " "
                  << content_of(fmt::format("/proc/{}/cmdline", pid));
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    ADD_FAILURE() << "file left: " << entry.path();
  }
}

Result run(const Words& words, const Command::Options& options) {
  Command command(words, options);
  Result result = command.wait();
  command.expect_nothing_left();
  return result;
}

Result run(const Words& words) {
  return run(words, Command::Options{});
}

Words lockstep_run(const Words& options) {
  Words words{LOCKSTEP_COMMAND, "run"};
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

Words probe(const Words& options, const Words& mode) {
  Words words = lockstep_run(options);
  words.emplace_back(LOCKSTEP_PROBE);
  words.insert(words.end(), mode.begin(), mode.end());
  return words;
}

}  // namespace lockstep::test
