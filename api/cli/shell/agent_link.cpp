// The listening socket is made by the command and inherited by the agent: whoever binds the name is
// the one who starts it, and can connect at once, before the agent runs.
#include "api/cli/shell/agent_link.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/shell/agent.hpp"
#include "api/cli/shell/exit_codes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstring>
#include <thread>

namespace lockstep::cli::shell {
namespace {

constexpr int kBacklog = 16;
/// Somebody may have bound the name and not listen yet, or be about to end.
constexpr int kTries = 200;
constexpr std::chrono::milliseconds kPause{5};
/// Out of the way of those that the agent gets.
constexpr int kOutOfTheWay = 16;

[[noreturn]] void fail(const char* what) {
  throw CommandError(kExitFailed, fmt::format("{}: {}", what, std::strerror(errno)));
}

struct Address {
  sockaddr_un bytes{};
  socklen_t size = 0;

  explicit Address(const Task& task) {
    bytes.sun_family = AF_UNIX;
    // The first byte stays NUL: abstract, so that nothing can be left behind.
    std::memcpy(bytes.sun_path + 1, task.name.data(), task.name.size());
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + task.name.size());
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

UniqueFd make_socket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) fail("no socket to the agent of this task");
  return fd;
}

/// Anybody can take a name first: only an agent of the same user is talked to.
void check_owner(const UniqueFd& fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) fail("SO_PEERCRED");
  if (peer.uid == geteuid()) return;
  throw CommandError(kExitFailed,
                     fmt::format("the agent of this task is user {}'s, and this command user {}'s: "
                                 "run it as the one who started the job",
                                 peer.uid, geteuid()));
}

/// In the child: nothing of the script stays open in the agent, or its pipes would never end.
[[noreturn]] void become_agent(int listener, int task) {
  listener = fcntl(listener, F_DUPFD, kOutOfTheWay);
  task = fcntl(task, F_DUPFD, kOutOfTheWay);
  const int nothing = open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, fd);
  dup2(listener, kListenerFd);
  dup2(task, kTaskFd);
  constexpr unsigned kFirstForeign = kTaskFd + 1;
  if (syscall(SYS_close_range, kFirstForeign, UINT_MAX, 0U) != 0) {
    constexpr int kUsualLimit = 65536;  // kernels before 5.9
    for (int fd = kFirstForeign; fd < kUsualLimit; ++fd) close(fd);
  }
  std::array<char, 16> own_name{"lockstep"};
  std::array<char, 16> command{};
  std::strncpy(command.data(), kAgentCommand, command.size() - 1);
  std::array<char*, 3> words = {own_name.data(), command.data(), nullptr};
  execv("/proc/self/exe", words.data());
  _exit(kExitFailed);
}

/// In the same process group as the first command: signals to the task's processes reach it too.
void start_agent(const UniqueFd& listener, const UniqueFd& process) {
  const pid_t pid = fork();
  if (pid < 0) fail("cannot start the agent of this task");
  if (pid == 0) become_agent(listener.get(), process.get());
}

}  // namespace

UniqueFd reach_agent(const Task& task) {
  const Address address(task);
  for (int i = 0; i < kTries; ++i) {
    UniqueFd fd = make_socket();
    if (connect(fd.get(), address.get(), address.size) == 0) {
      check_owner(fd);
      return fd;
    }
    if (errno != ECONNREFUSED) fail("the agent of this task cannot be reached");
    UniqueFd listener = make_socket();
    fcntl(listener.get(), F_SETFL, O_NONBLOCK);
    if (bind(listener.get(), address.get(), address.size) == 0) {
      if (listen(listener.get(), kBacklog) != 0) fail("the agent of this task cannot listen");
      start_agent(listener, watch_process(task));
    } else if (errno == EADDRINUSE) {
      std::this_thread::sleep_for(kPause);
    } else {
      fail("no name for the agent of this task");
    }
  }
  throw CommandError(kExitFailed, "the agent of this task does not come up; was it killed?");
}

}  // namespace lockstep::cli::shell
