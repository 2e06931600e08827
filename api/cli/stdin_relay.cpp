// A pipe with one buffer: typed lines are few, and the terminal itself keeps the rest.
#include "api/cli/stdin_relay.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace lockstep::cli {
namespace {

constexpr std::chrono::seconds kForegroundLook{1};

// Reading from the background would stop the launcher, and with it all care for the ranks.
bool is_foreground() {
  return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

}  // namespace

StdinRelay::StdinRelay() {
  std::array<int, 2> ends{};
  if (isatty(STDIN_FILENO) == 0 || pipe2(ends.data(), O_CLOEXEC) != 0) return;
  reader_ = UniqueFd(ends[0]);
  writer_ = UniqueFd(ends[1]);
  fcntl(writer_.get(), F_SETFL, O_NONBLOCK);
}

void StdinRelay::watch(PollSet& polls) {
  if (!writer_.is_open()) return;
  if (!typed_.empty()) {
    polls.add(writer_.get(), POLLOUT, [this] { write_pipe(); });
  } else if (is_foreground()) {
    polls.add(STDIN_FILENO, POLLIN, [this] { read_terminal(); });
  }
}

Deadline StdinRelay::deadline() const {
  if (!writer_.is_open() || !typed_.empty() || is_foreground()) return std::nullopt;
  return Clock::now() + kForegroundLook;
}

void StdinRelay::read_terminal() {
  std::array<char, 4096> chunk;
  const ssize_t count = read(STDIN_FILENO, chunk.data(), chunk.size());
  if (count > 0) {
    typed_.assign(chunk.data(), static_cast<std::size_t>(count));
    write_pipe();
  } else if (count == 0 || errno != EINTR) {
    writer_.reset();  // Ctrl-D, or the terminal is gone: rank 0 sees the end of its input
  }
}

void StdinRelay::write_pipe() {
  const ssize_t count = write(writer_.get(), typed_.data(), typed_.size());
  if (count > 0) typed_.erase(0, static_cast<std::size_t>(count));
  if (count < 0 && errno != EINTR && errno != EAGAIN) writer_.reset();
}

}  // namespace lockstep::cli
