// A stream of the fake drivers, which tests make and pass as if it were CUDA's: a queue whose work
// runs in order on a thread of its own, and lasts as long as the test wants.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace lockstep::test {

class FakeStream {
 public:
  using Job = std::function<void()>;
  /// What was captured, in its order: each puts its part on the stream that the graph is launched
  /// on, and may be put there again.
  using Graph = std::vector<std::function<void(FakeStream&)>>;

  std::atomic<bool> is_busy{false};
  std::atomic<bool> has_failed{false};  ///< for good: what comes behind it does not run
  bool is_captured = false;
  std::atomic<bool> is_capture_broken{false};  ///< somebody asked it whether it is idle
  Graph captured;                              ///< while it is_captured
  std::int32_t ordinal = -1;                   ///< of its GPU; -1: of whichever it is used for
  std::size_t room = SIZE_MAX;  ///< a full queue holds who enqueues, as a driver's does
  std::chrono::steady_clock::time_point finished{};  ///< the last job; once it is not busy

  FakeStream() = default;
  FakeStream(const FakeStream&) = delete;
  FakeStream& operator=(const FakeStream&) = delete;
  /// When all is done.
  ~FakeStream() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_all();
    if (worker_.joinable()) worker_.join();
  }

  /// Enqueues work that fails in the end if it `fails`, and returns.
  void begin(Job job, bool fails = false) {
    if (is_captured) {
      captured.push_back([job = std::move(job), fails](FakeStream& on) { on.push(job, fails); });
    } else {
      push(std::move(job), fails);
    }
  }
  /// The same for a part of which it must be known how often it was launched.
  void begin_part(std::function<void(FakeStream&)> part) {
    if (is_captured) {
      captured.push_back(std::move(part));
    } else {
      part(*this);
    }
  }
  Graph end_capture() {
    is_captured = false;
    return std::exchange(captured, {});
  }
  void launch(const Graph& graph) {
    for (const auto& part : graph) part(*this);
  }

  void push(Job job, bool fails = false) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return queue_.size() < room; });
      queue_.push_back({std::move(job), fails});
      ++given_;
      is_busy = true;
      if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
    }
    changed_.notify_all();
  }
  /// How much it has been given so far; see has_done(). Waits for room, as who asks a driver's for
  /// a word in the end gives it one more thing to do.
  std::uint64_t given() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.size() < room; });
    return given_;
  }
  bool has_done(std::uint64_t given) const { return done_ >= given; }

 private:
  struct Item {
    Job job;
    bool fails;
  };

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return is_over_ || !queue_.empty(); });
      if (queue_.empty()) return;
      Item item = std::move(queue_.front());
      queue_.pop_front();
      changed_.notify_all();
      lock.unlock();
      if (!has_failed) item.job();
      item.job = nullptr;  // what it holds is not held longer than it lasts
      finished = std::chrono::steady_clock::now();
      lock.lock();
      if (item.fails) has_failed = true;
      is_busy = !queue_.empty();
      ++done_;  // the last: who sees it sees the rest
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  std::uint64_t given_ = 0;
  std::atomic<std::uint64_t> done_{0};
  bool is_over_ = false;
  std::thread worker_;  ///< from its first work on
};

}  // namespace lockstep::test
