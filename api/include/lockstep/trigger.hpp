// Triggers that have names: set on any rank, fired on all in the same check. Part of
// lockstep/lockstep.hpp, and as thin; lockstep/triggers.h says what is promised.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "lockstep/call.hpp"
#include "lockstep/error.hpp"
#include "lockstep/lockstep.h"
#include "lockstep/streams.h"
#include "lockstep/trigger_report.hpp"

namespace lockstep {

/// Who has to have set a trigger before it fires.
enum class When : std::int32_t {
  any = LOCKSTEP_TRIGGER_ANY,
  all = LOCKSTEP_TRIGGER_ALL,
  quorum = LOCKSTEP_TRIGGER_QUORUM,
  node_leaders = LOCKSTEP_TRIGGER_NODE_LEADERS,  ///< the group's first rank of every node
};

/// What the values that a trigger is set with become.
enum class Combine : std::int32_t {
  bit_or = LOCKSTEP_COMBINE_OR,
  max = LOCKSTEP_COMBINE_MAX,
  min = LOCKSTEP_COMBINE_MIN,
  sum = LOCKSTEP_COMBINE_SUM,
  first = LOCKSTEP_COMBINE_FIRST,
};

/// How a trigger is to be: trigger("enough", {.when = When::quorum, .fraction = 0.5}).
struct TriggerOptions {
  When when = When::any;
  Combine combine = Combine::bit_or;
  std::uint32_t quorum = 0;  ///< members; 0: see `fraction`
  double fraction = 0;       ///< of the members, rounded up
};

/// A trigger of a group, borrowed from it; may be copied.
class Trigger {
 public:
  /// See Group::trigger().
  Trigger(lockstep_group_t group, const std::string& name, const TriggerOptions& options) {
    lockstep_trigger_options_t made{};
    made.size = sizeof made;
    made.policy = static_cast<std::int32_t>(options.when);
    made.combine = static_cast<std::int32_t>(options.combine);
    made.quorum = options.quorum;
    made.fraction = options.fraction;
    if (name.size() != std::char_traits<char>::length(name.c_str())) {
      throw UsageError(LOCKSTEP_E_INVALID, "a trigger's name has a NUL in it");
    }
    detail::check(lockstep_trigger_open(group, name.c_str(), &made, &handle_));
  }

  /// Any thread; the others are told by the next check of any trigger of the group.
  void set(const std::string& reason = {}, std::uint64_t value = 0, std::uint64_t step = 0,
           const Where& where = Where::current()) {
    lockstep_trigger_cause_t cause{};
    cause.size = sizeof cause;
    cause.reason = reason.c_str();
    cause.value = value;
    cause.step = step;
    cause.file = where.file;
    cause.line = where.line;
    detail::check(lockstep_trigger_set(handle_, &cause));
  }
  /// True on all members in the same call, if it fires. Collective; options.name is not read.
  bool check(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    int fired = 0;
    detail::check(lockstep_trigger_check(&handle_, 1, &call, &fired));
    return fired != 0;
  }
  /// The same, free while nothing is set: all members agree on the poll in which it is true.
  bool poll(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    int fired = 0;
    detail::check(lockstep_trigger_poll(handle_, &call, &fired));
    return fired != 0;
  }
  /// Why it last fired; the same on all members.
  TriggerReport report() const {
    lockstep_trigger_report_t report{};
    report.size = sizeof report;
    detail::check(lockstep_trigger_last(handle_, &report));
    return TriggerReport(report);
  }
  /// The loss of a member fires it, once, instead of failing its next check or poll; on every
  /// member.
  void on_loss() { detail::check(lockstep_trigger_bind_loss(handle_)); }
  /// The signal sets it; a trigger of the job's group only.
  void on_signal(int signal) { detail::check(lockstep_trigger_bind_signal(handle_, signal)); }
  /// Who touches this file sets it; a trigger of the job's group only.
  void on_file(const std::string& path) {
    if (path.size() != std::char_traits<char>::length(path.c_str())) {
      throw UsageError(LOCKSTEP_E_INVALID, "the path of a trigger's file has a NUL in it");
    }
    detail::check(lockstep_trigger_bind_file(handle_, path.c_str()));
  }
  /// It is set once less than `margin`, or than another save takes, is left to the job's time
  /// limit; a trigger of the job's group only.
  void before_end(std::chrono::nanoseconds margin) {
    detail::check(lockstep_trigger_bind_end(handle_, margin.count()));
  }
  /// All that the trigger without a name would hear of sets it; a trigger of the job's group only.
  void on_anything_else() { detail::check(lockstep_trigger_bind_rest(handle_)); }
  /// Who writes anything but 0 there sets it, with that value: a kernel, to memory that the host
  /// shares. Looked at, and taken back to 0, by this rank's checks and polls. nullptr: no word.
  void on_word(std::uint64_t* word) { detail::check(lockstep_trigger_bind_word(handle_, word)); }
  /// Its bit in the group's stream barriers, for DeviceWord (lockstep/device.cuh). Collective.
  lockstep_stream_bit_t stream_bit(const Options& options = {},
                                   const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    lockstep_stream_bit_t bit{};
    detail::check(lockstep_stream_barrier_bind(handle_, &bit, &call));
    return bit;
  }
  /// Makes room for another one; copies are not to be used any more.
  void close() { lockstep_trigger_close(handle_); }

  lockstep_trigger_t handle() const noexcept { return handle_; }

 private:
  lockstep_trigger_t handle_ = nullptr;
};

/// Several of one group in one round: auto [stops, saves] = check_triggers({stop, save}).
template <std::size_t N>
std::array<bool, N> check_triggers(const Trigger (&triggers)[N], const Options& options = {},
                                   const Where& where = Where::current()) {
  const lockstep_call_t call = options.at(where);
  std::array<lockstep_trigger_t, N> handles;
  for (std::size_t i = 0; i < N; ++i) handles[i] = triggers[i].handle();
  std::array<int, N> numbers{};
  detail::check(lockstep_trigger_check(handles.data(), N, &call, numbers.data()));
  std::array<bool, N> fired;
  for (std::size_t i = 0; i < N; ++i) fired[i] = numbers[i] != 0;
  return fired;
}

}  // namespace lockstep
