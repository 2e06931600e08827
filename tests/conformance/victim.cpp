// Starts, stops and kills a peer process; addresses travel over a socket pair.
#include "victim.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

extern char** environ;

namespace lockstep::conformance {
namespace {

constexpr int kVictimSocket = 3;

bool transfer(int socket, bool is_write, void* data, std::size_t length) {
  auto* bytes = static_cast<char*>(data);
  while (length != 0) {
    const ssize_t n = is_write ? ::write(socket, bytes, length) : ::read(socket, bytes, length);
    if (n <= 0) return false;
    bytes += n;
    length -= static_cast<std::size_t>(n);
  }
  return true;
}

// Both sides say their own address and hear the other's; short enough never to block.
Bytes swap_addresses(int socket, Bytes own) {
  std::uint32_t length = static_cast<std::uint32_t>(own.size());
  Bytes other;
  if (!transfer(socket, true, &length, sizeof length)) return other;
  if (!transfer(socket, true, own.data(), own.size())) return other;
  if (!transfer(socket, false, &length, sizeof length)) return other;
  if (length > LOCKSTEP_ADDRESS_MAX) return other;
  other.resize(length);
  if (!transfer(socket, false, other.data(), other.size())) other.clear();
  return other;
}

}  // namespace

int run_victim(const std::string& plugin_path, std::uint32_t rank) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const lockstep_plugin_t* plugin = load(plugin_path);
  if (plugin == nullptr) return EXIT_FAILURE;
  Instance instance(*plugin, rank);
  if (!instance.is_open()) return EXIT_FAILURE;
  const Bytes other = swap_addresses(kVictimSocket, instance.address());
  if (instance.connect(0, other) != LOCKSTEP_OK) return EXIT_FAILURE;
  // Answered after poll(): a receiver may not call back into the transport.
  std::vector<Bytes> answers;
  instance.on_frame([&](const Bytes& frame) { answers.push_back(frame); });
  for (;;) {
    if (instance.poll() == 0) sched_yield();
    if (answers.empty()) continue;
    if (instance.post(0, answers.back()) != LOCKSTEP_AGAIN) answers.pop_back();
  }
}

Victim::Victim(const std::string& plugin_path, Instance& instance, std::uint32_t rank) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], kVictimSocket);
  std::string self = "/proc/self/exe";
  std::string flag = kVictimFlag;
  std::string path = plugin_path;
  std::string number = std::to_string(rank);
  char* arguments[] = {self.data(), flag.data(), path.data(), number.data(), nullptr};
  // A fresh program: a forked copy would inherit the libraries' threads as dead memory.
  const int error = posix_spawn(&process_, self.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error == 0) {
    const Bytes other = swap_addresses(ends[0], instance.address());
    is_ready_ = !other.empty() && instance.connect(rank, other) == LOCKSTEP_OK;
  } else {
    process_ = -1;
  }
  ::close(ends[0]);
}

void Victim::stop() {
  ::kill(process_, SIGSTOP);
  int status = 0;
  waitpid(process_, &status, WUNTRACED);
}

void Victim::kill() {
  if (process_ < 0) return;
  ::kill(process_, SIGKILL);
  int status = 0;
  waitpid(process_, &status, 0);
  process_ = -1;
}

}  // namespace lockstep::conformance
