// Everything that may ask this job to stop, as one rank sees it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/config/config.hpp"
#include "runtime/config/environment.hpp"
#include "runtime/lifecycle/end_of_job.hpp"
#include "runtime/lifecycle/signals.hpp"
#include "runtime/request/box.hpp"

namespace lockstep::lifecycle {

/// Where a stop comes from; the more urgent, the smaller.
enum class Source : std::uint8_t { signal, request, file, time, word, call };

/// Not the program's own doing.
constexpr bool is_from_outside(Source source) noexcept {
  return source < Source::word;
}

struct Notice {
  Source source = Source::call;
  int signal = 0;               ///< of Source::signal
  Nanos left = kNever;          ///< to the job's end, as far as it is known
  request::Taken requests = 0;  ///< to be answered, also if something more urgent came with them
  std::string text{};           ///< of Source::request: who and why; ::file: its path; else: why
};

/// What a trigger wants to hear of.
struct Interest {
  Signals signals = kAllSignals;
  std::string_view requests{};  ///< those for this name
  bool any_request = true;      ///< and those that name nobody
  bool time = true;
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

  /// Nothing to take for anybody: three loads.
  bool is_quiet() const noexcept;
  /// Is the time up, or has a request come since this was asked last? Takes nothing.
  bool has_news() noexcept;
  /// The most urgent of what this rank has to tell, and forgets the others: they are one event.
  /// Whoever takes it keeps it until it is told.
  std::optional<Notice> take(const Interest& interest = {});
  /// All ranks know of these requests, since this check.
  void told(request::Taken requests, std::uint64_t check) noexcept { inbox_.tell(requests, check); }
  /// Looks into a notice that was taken here; may ask the scheduler, for two seconds at most.
  Cause look_into(const Notice& notice) const;

 private:
  Nanos margin() const noexcept;
  bool minds_time() const noexcept {
    return keeps_time_ && margin_.load(std::memory_order_relaxed) >= 0;
  }
  bool time_is_up() noexcept;
  Cause look_into_signal(int signal) const;

  std::atomic<Nanos> margin_{-1};  ///< negative: not asked for
  std::atomic<Nanos> longest_save_{0};
  std::atomic<bool> has_told_time_{false};
  request::Inbox inbox_;
  bool keeps_time_ = false;
  std::optional<EndOfJob> end_;
};

}  // namespace lockstep::lifecycle
