// The thread that asks. It sleeps but for some milliseconds a minute.
#include "runtime/lifecycle/end_of_job.hpp"

#include <charconv>
#include <chrono>
#include <ctime>
#include <optional>

#include "runtime/base/quiet_thread.hpp"
#include "runtime/lifecycle/scheduler.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep::lifecycle {
namespace {

/// More often, and n jobs of a site become a load on its controller.
constexpr std::chrono::seconds kBetweenQuestions{60};
constexpr Nanos kPatience = 20 * kSecond;

/// SLURM_JOB_END_TIME: seconds of the wall clock; newer than Slurm 22.05, and as of the launch.
Nanos end_in(const Environment& environment) {
  const auto text = environment.get("SLURM_JOB_END_TIME");
  if (!text) return kNever;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  constexpr std::int64_t kMost = INT64_MAX / kSecond;
  if (error != std::errc() || end != text->data() + text->size()) return kNever;
  const std::int64_t left = seconds - std::time(nullptr);
  return left > kMost || left < -kMost ? kNever : after(now(), left * kSecond);
}

}  // namespace

EndOfJob::EndOfJob(const Environment& environment)
    : job_(slurm_job_of(environment)), end_(end_in(environment)) {}

Nanos EndOfJob::left() const noexcept {
  const Nanos end = end_.load(std::memory_order_relaxed);
  return end == kNever ? kNever : end - now();
}

void EndOfJob::start_asking() {
  if (job_.empty() || thread_.joinable()) return;
  thread_ = quiet_thread([this](const std::stop_token& stop) { ask(stop); });
}

void EndOfJob::ask(const std::stop_token& stop) {
  bool has_complained = false;
  while (!stop.stop_requested()) {
    if (const std::optional<JobState> state = ask_slurm(job_, kPatience, stop)) {
      // A job that is being ended has no time left to tell; what was known stays.
      if (state->state == "RUNNING") end_ = state->left ? after(now(), *state->left) : kNever;
    } else if (!has_complained && !stop.stop_requested()) {
      has_complained = true;
      log::warn("squeue does not say how long job {} may run; asked again every minute", job_);
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, kBetweenQuestions, [] { return false; });
  }
}

}  // namespace lockstep::lifecycle
