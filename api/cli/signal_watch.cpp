// The list of watched signals and the signalfd.
#include "api/cli/signal_watch.hpp"

#include "api/cli/command_error.hpp"

#include <signal.h>
#include <sys/signalfd.h>

#include <array>

namespace lockstep::cli {
namespace {

constexpr std::array<int, 8> kWatched = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                                         SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP};

bool is_ignored(int number) {
  struct sigaction action {};
  sigaction(number, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

}  // namespace

SignalWatch::SignalWatch() {
  // Ignored SIGCHLD would make the kernel throw away the exit codes.
  signal(SIGCHLD, SIG_DFL);
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  for (const int number : kWatched) {
    if (!is_ignored(number)) sigaddset(&watched, number);
  }
  sigset_t blocked = watched;
  sigaddset(&blocked, SIGPIPE);  // a write that fails says so itself
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  fd_ = UniqueFd(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_.is_open()) throw CommandError(1, "no signalfd for the launcher");
}

std::vector<int> SignalWatch::take() {
  std::vector<int> numbers;
  signalfd_siginfo info{};
  while (read(fd_.get(), &info, sizeof info) == sizeof info) {
    numbers.push_back(static_cast<int>(info.ssi_signo));
  }
  return numbers;
}

}  // namespace lockstep::cli
