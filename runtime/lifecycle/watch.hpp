// Everything that may ask this job to stop, as one rank sees it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/config/config.hpp"
#include "runtime/config/environment.hpp"
#include "runtime/lifecycle/end_of_job.hpp"
#include "runtime/request/box.hpp"

namespace lockstep::lifecycle {

/// Where a stop comes from; the more urgent, the smaller.
enum class Source : std::uint8_t { signal, request, time, call };

struct Notice {
  Source source;
  int signal = 0;       ///< of Source::signal
  Nanos left = kNever;  ///< to the job's end, as far as it is known
};

/// What a notice means, once it has been looked into.
struct Cause {
  std::int32_t reason;  ///< lockstep_reason_t
  std::string text;
  int signal = 0;
};

class Watch {
 public:
  /// Signals and margin as configured. `keeps_time`: this rank asks the scheduler for the others.
  Status start(const Config& config, const Environment& environment, bool keeps_time);
  ~Watch();

  void raise() noexcept { is_raised_.store(true, std::memory_order_release); }
  Status on_signal(int signal);
  /// Takes requests from this box, which outlives the checks.
  void listen_to(request::Box& box) noexcept { inbox_.open(box); }
  /// Asks to stop when less than `margin` is left, or less than the longest save took, with half as
  /// much on top.
  void before_end(Nanos margin);
  void saw_save(Nanos took) noexcept;
  Nanos left() const noexcept { return end_ ? end_->left() : kNever; }
  /// From now on left() is kept up to date, where this rank keeps the time.
  void keep_time();

  /// The most urgent of what this rank has to tell, and forgets the others: they are one event. A
  /// few loads if there is nothing. `check`: the name of the check that asks, or NULL.
  std::optional<Notice> take(const char* check = nullptr) noexcept;
  /// Would take() take something that it had not been asked for when this was called last? Takes
  /// nothing. Any thread.
  bool has_news() noexcept;
  /// It could not be told: it stands again.
  void put_back(const Notice& notice) noexcept;
  /// All ranks know what was taken, since this check.
  void told(std::uint64_t check) noexcept { inbox_.tell(check); }
  /// Looks into a notice that was taken here; may ask the scheduler, for two seconds at most.
  Cause look_into(const Notice& notice) const;

 private:
  Nanos margin() const noexcept;
  bool time_is_up() noexcept;
  Cause look_into_signal(int signal) const;

  std::atomic<bool> is_raised_{false};
  std::atomic<Nanos> margin_{-1};  ///< negative: not asked for
  std::atomic<Nanos> longest_save_{0};
  std::atomic<bool> has_told_time_{false};
  request::Inbox inbox_;
  bool keeps_time_ = false;
  std::optional<EndOfJob> end_;
};

}  // namespace lockstep::lifecycle
