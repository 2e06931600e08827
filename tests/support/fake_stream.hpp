// A stream of the fake drivers, which tests make and pass as if it were CUDA's: work that lasts as
// long as the test wants, on a thread of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

namespace lockstep::test {

struct FakeStream {
  std::atomic<bool> is_busy{false};
  std::atomic<bool> has_failed{false};
  bool is_captured = false;
  std::atomic<bool> is_capture_broken{false};  ///< somebody asked it whether it is idle
  std::chrono::steady_clock::time_point finished{};
  std::thread work;

  /// Enqueues work that fails in the end if it `fails`.
  void begin(std::function<void()> job, bool fails = false) {
    if (work.joinable()) work.join();
    is_busy = true;
    work = std::thread([this, job = std::move(job), fails] {
      job();
      finished = std::chrono::steady_clock::now();
      if (fails) has_failed = true;
      is_busy = false;
    });
  }
  ~FakeStream() {
    if (work.joinable()) work.join();
  }
};

}  // namespace lockstep::test
