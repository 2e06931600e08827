// Why the trigger fired, and what is to become of the job. Part of lockstep/lockstep.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "lockstep/lockstep.h"

namespace lockstep {

enum class Reason : std::int32_t {
  set = LOCKSTEP_REASON_SET,
  signal = LOCKSTEP_REASON_SIGNAL,
  time_limit = LOCKSTEP_REASON_TIME_LIMIT,
  preemption = LOCKSTEP_REASON_PREEMPTION,
  cancel = LOCKSTEP_REASON_CANCEL,
  request = LOCKSTEP_REASON_REQUEST,
  suspend = LOCKSTEP_REASON_SUSPEND,
  resume = LOCKSTEP_REASON_RESUME,
  loss = LOCKSTEP_REASON_LOSS,
  file = LOCKSTEP_REASON_FILE,
  word = LOCKSTEP_REASON_WORD,
};

enum class Requeue {
  no_opinion = LOCKSTEP_REQUEUE_NO_OPINION,
  wanted = LOCKSTEP_REQUEUE_WANTED,
  never = LOCKSTEP_REQUEUE_NEVER,
};

/// Why the trigger fired; the same on all ranks. See lockstep_trigger_report_t.
struct TriggerReport {
  Reason reason;
  std::uint32_t rank;  ///< where it came from
  std::string host;
  int signal;                                    ///< 0: none
  std::optional<std::chrono::nanoseconds> left;  ///< to the job's time limit, when it was noticed
  std::uint64_t check;                           ///< number of the check that fired, from 1
  std::string text;
  std::string name;  ///< of the trigger; empty: it has none
  std::string site;  ///< where it was set; may be empty
  std::uint64_t value;
  std::uint64_t step;
  std::uint32_t setters;                        ///< ranks that had set it
  std::chrono::system_clock::time_point time;   ///< when it was set there, by that host's clock
  std::chrono::system_clock::time_point since;  ///< when the earliest of them did

  explicit TriggerReport(const lockstep_trigger_report_t& report)
      : reason(static_cast<Reason>(report.reason)),
        rank(report.rank),
        host(report.host),
        signal(report.signal),
        check(report.check),
        text(report.text),
        name(report.name),
        site(report.site),
        value(report.value),
        step(report.step),
        setters(report.setters),
        time(at(report.time_ns)),
        since(at(report.since_ns)) {
    if (report.left_ns != INT64_MAX) left = std::chrono::nanoseconds(report.left_ns);
  }

 private:
  static std::chrono::system_clock::time_point at(std::int64_t ns) {
    using std::chrono::system_clock;
    return system_clock::time_point(
        std::chrono::duration_cast<system_clock::duration>(std::chrono::nanoseconds(ns)));
  }
};

}  // namespace lockstep
