// A queue of jobs, and the one thread that runs them.
#include "runtime/saving/background.hpp"

#include "runtime/base/quiet_thread.hpp"

namespace lockstep::saving {

Background::~Background() {
  {
    std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  wakes_.notify_all();
}

void Background::submit(std::function<void()> job) {
  std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  if (!thread_.joinable()) thread_ = quiet_thread([this] { run(); });
  wakes_.notify_all();
}

void Background::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wakes_.wait(lock, [this] { return is_over_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
  }
}

}  // namespace lockstep::saving
