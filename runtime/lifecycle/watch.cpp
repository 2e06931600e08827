// Merges the sources, and puts a cause into words.
#include "runtime/lifecycle/watch.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include <fmt/format.h>

#include "lockstep/lockstep.h"
#include "runtime/config/signal_names.hpp"
#include "runtime/lifecycle/scheduler.hpp"

namespace lockstep::lifecycle {
namespace {

std::string seconds_text(Nanos time) {
  return fmt::format("{:.0f} s", static_cast<double>(time) / static_cast<double>(kSecond));
}

bool is_followed_by_term() {
  const Nanos deadline = after(now(), 100 * kMillisecond);
  do {
    if (take_this_signal(SIGTERM)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } while (now() < deadline);
  return false;
}

}  // namespace

Status Watch::start(const Config& config, const Environment& environment, bool keeps_time) {
  keeps_time_ = keeps_time;
  end_.emplace(environment);
  for (const int signal : config.signals) {
    if (Status status = catch_signal(signal); !status.ok()) return status;
  }
  if (config.stop_before_end != kNever) before_end(config.stop_before_end);
  return {};
}

Watch::~Watch() {
  release_signals();
}

Status Watch::on_signal(int signal) {
  return catch_signal(signal);
}

void Watch::before_end(Nanos margin) {
  margin_ = margin;
  has_told_time_ = false;
  keep_time();
}

void Watch::keep_time() {
  if (keeps_time_ && end_) end_->start_asking();
}

void Watch::saw_save(Nanos took) noexcept {
  if (took > longest_save_) longest_save_ = took;
}

Nanos Watch::margin() const noexcept {
  const Nanos save = longest_save_;
  return std::max(margin_.load(), after(save, save / 2));
}

bool Watch::is_quiet() const noexcept {
  return !has_signal() && inbox_.is_empty() && !minds_time();
}

std::optional<Notice> Watch::take(const Interest& interest) {
  const bool is_time = interest.time && time_is_up();
  const std::optional<int> signal = take_signal(interest.signals);
  const request::Taken requests = inbox_.take(interest.requests, interest.any_request);
  Notice notice{.left = left(), .requests = requests};
  if (signal) {
    notice.source = Source::signal;
    notice.signal = *signal;
  } else if (requests != 0) {
    notice.source = Source::request;
    notice.text = inbox_.text(requests);
  } else if (is_time) {
    notice.source = Source::time;
  } else {
    return std::nullopt;
  }
  return notice;
}

bool Watch::has_news() noexcept {
  const bool is_time = minds_time() && left() <= margin() && !has_told_time_;
  return is_time || inbox_.has_new();
}

bool Watch::time_is_up() noexcept {
  if (!minds_time()) return false;
  const bool is_near = left() <= margin();
  // Told once; the end may be put off, and come near again.
  return is_near ? !has_told_time_.exchange(true) : (has_told_time_ = false);
}

Cause Watch::look_into(const Notice& notice) const {
  switch (notice.source) {
    case Source::signal:
      return look_into_signal(notice.signal);
    case Source::request:
      return {LOCKSTEP_REASON_REQUEST, notice.text};
    case Source::file:
      return {LOCKSTEP_REASON_FILE, fmt::format("the file {} was touched", notice.text)};
    case Source::time:
      return {LOCKSTEP_REASON_TIME_LIMIT,
              fmt::format("{} are left before the job's end, {} are needed",
                          seconds_text(std::max(notice.left, Nanos{0})), seconds_text(margin()))};
    case Source::word:
      return {LOCKSTEP_REASON_WORD, notice.text};
    case Source::call:
      break;
  }
  return {LOCKSTEP_REASON_SET, notice.text};
}

Cause Watch::look_into_signal(int signal) const {
  // Slurm wakes a job up (SIGCONT) before it sends it SIGTERM: then that is the reason.
  if (signal == SIGCONT && is_followed_by_term()) signal = SIGTERM;
  const std::string name = signal_name(signal);
  if (signal == SIGTSTP) {
    return {LOCKSTEP_REASON_SUSPEND, name + ": the job is to be suspended", signal};
  }
  if (signal == SIGCONT) {
    return {LOCKSTEP_REASON_RESUME, name + ": the job goes on after it was suspended", signal};
  }
  const Cause plain{LOCKSTEP_REASON_SIGNAL, name, signal};
  if (signal != SIGTERM || !end_ || end_->slurm_job().empty()) return plain;
  constexpr Nanos kPatience = 2 * kSecond;
  const std::optional<JobState> state = ask_slurm(end_->slurm_job(), kPatience);
  if (!state) return {plain.reason, name + "; the scheduler does not say why", signal};
  switch (ending_of(*state)) {
    case Ending::time_limit:
      return {LOCKSTEP_REASON_TIME_LIMIT, name + ": the job has reached its time limit", signal};
    case Ending::preemption:
      return {LOCKSTEP_REASON_PREEMPTION, name + ": the job is preempted", signal};
    case Ending::requeue:
      return {LOCKSTEP_REASON_PREEMPTION, name + ": the job is queued again, as after a preemption",
              signal};
    case Ending::cancel:
      return {LOCKSTEP_REASON_CANCEL, name + ": the job was cancelled", signal};
    case Ending::unknown:
      break;
  }
  return plain;
}

}  // namespace lockstep::lifecycle
