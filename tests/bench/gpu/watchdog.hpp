// Ends the process when a call that cannot be given a limit takes too long: NCCL's set-up, a
// synchronisation with a stream. Device time is scarce, and the other ranks are told by the
// launcher.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace lockstep::bench::gpu {

class Watchdog {
 public:
  Watchdog() : thread_([this](const std::stop_token& stop) { look(stop); }) {}

  /// One activity of the main thread; the name is borrowed.
  class Watch {
   public:
    Watch(Watchdog& dog, const char* what, std::chrono::seconds limit) : dog_(dog) {
      dog_.what_ = what;
      dog_.until_ = (Clock::now() + limit).time_since_epoch().count();
    }
    ~Watch() { dog_.until_ = kNever; }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Watchdog& dog_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::rep kNever = 0;
  static constexpr std::chrono::milliseconds kPeriod{100};
  static constexpr int kStatus = 4;

  void look(const std::stop_token& stop) const {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(kPeriod);
      const Clock::rep until = until_;
      if (until == kNever || Clock::now().time_since_epoch().count() < until) continue;
      std::fprintf(stderr, "gpu_bench: process %d has been in '%s' for too long, and ends\n",
                   static_cast<int>(getpid()), what_.load());
      std::_Exit(kStatus);  // no destructors: they would wait for what is stuck
    }
  }

  std::atomic<const char*> what_{""};
  std::atomic<Clock::rep> until_{kNever};
  std::jthread thread_;  // last: it reads the others
};

}  // namespace lockstep::bench::gpu
