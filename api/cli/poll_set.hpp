// One turn of a poll loop: who waits for what, and what to do then.
#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace lockstep::cli {

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;

/// Filled anew for every turn, so that nothing stale can be called.
class PollSet {
 public:
  void add(int fd, short events, std::function<void()> action) {
    fds_.push_back({.fd = fd, .events = events, .revents = 0});
    actions_.push_back(std::move(action));
  }

  /// Waits for the first event or the deadline, then calls the actions that are due, in order.
  void wait(Deadline deadline) {
    if (poll(fds_.data(), fds_.size(), milliseconds_until(deadline)) <= 0) return;
    for (std::size_t i = 0; i < fds_.size(); ++i) {
      if (fds_[i].revents != 0) actions_[i]();
    }
  }

 private:
  static int milliseconds_until(Deadline deadline) {
    if (!deadline) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
    constexpr std::int64_t kLongest = 60'000;  // keeps the int of poll(2) from overflowing
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongest));
  }

  std::vector<pollfd> fds_;
  std::vector<std::function<void()>> actions_;
};

/// The earlier of two deadlines; none is never.
inline Deadline earlier(Deadline a, Deadline b) {
  if (!a || !b) return a ? a : b;
  return *a < *b ? a : b;
}

}  // namespace lockstep::cli
