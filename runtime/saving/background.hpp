// The thread that writes for those who do not wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace lockstep::saving {

/// Runs jobs one after the other, each to its end, on one thread that is there from the first job
/// on. Destroying it runs what is left: a job has its own way to be told that it is not wanted.
class Background {
 public:
  Background() = default;
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  /// @param job  Must not throw.
  void submit(std::function<void()> job);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable_any wakes_;
  std::deque<std::function<void()>> jobs_;
  bool is_over_ = false;
  std::jthread thread_;
};

}  // namespace lockstep::saving
