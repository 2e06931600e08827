// What training loops do with triggers: stop when nothing gets better, save every so often. On top
// of lockstep/lockstep.hpp, which does not include it.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <utility>

#include "lockstep/lockstep.hpp"

namespace lockstep {

/// What a better value is.
enum class Better { lower, higher };

struct EarlyStoppingOptions {
  std::uint64_t patience = 3;  ///< so many values in a row without getting better are too many
  double min_delta = 0;        ///< what is not better by more than this is not better
  Better better = Better::lower;
};

/// Sets a trigger when a value stops getting better, on whatever rank that is seen:
///
///   EarlyStopping early(stop, {.patience = 5});
///   for (...) {
///     if (is_main_process) early.see(validation_loss(), step);
///     if (stop.check()) break;
///   }
///
/// Local but for the check, which is the caller's: with those of others, if he likes. A trigger
/// with When::all stops when nobody gets better any more.
class EarlyStopping {
 public:
  explicit EarlyStopping(Trigger trigger, const EarlyStoppingOptions& options = {})
      : trigger_(trigger), options_(options) {}

  /// The next value; NaN is not better than anything.
  /// @return Whether this rank's patience is at an end: then, and at each value that is no better
  ///         after it, the trigger is set.
  bool see(double value, std::uint64_t step = 0, const Where& where = Where::current()) {
    const double gain = options_.better == Better::lower ? best_ - value : value - best_;
    if (has_best_ ? gain > options_.min_delta : !std::isnan(value)) {
      has_best_ = true;
      best_ = value;
      best_step_ = step;
      in_vain_ = 0;
      return false;
    }
    if (++in_vain_ < options_.patience) return false;
    trigger_.set(reason(), in_vain_, step, where);
    return true;
  }
  /// NaN at first.
  double best() const noexcept { return best_; }
  std::uint64_t best_step() const noexcept { return best_step_; }

 private:
  std::string reason() const {
    std::ostringstream text;
    if (has_best_) {
      text << "no better than " << best_ << " of step " << best_step_ << ", " << in_vain_
           << " times in a row";
    } else {
      text << "not a number, " << in_vain_ << " times in a row";
    }
    return text.str();
  }

  Trigger trigger_;
  EarlyStoppingOptions options_;
  bool has_best_ = false;
  double best_ = std::numeric_limits<double>::quiet_NaN();
  std::uint64_t best_step_ = 0;
  std::uint64_t in_vain_ = 0;
};

struct EverySoOftenOptions {
  std::uint64_t calls = 0;           ///< due at every so many calls; 0: not by their number
  std::chrono::nanoseconds time{0};  ///< due when so much has passed since it last was; 0: never
};

/// Says on all members of a group, in the same call, that it is time again: to save, to evaluate.
///
///   EverySoOften saves(job.job(), "save", {.calls = 1000, .time = 10min});
///   for (...) if (saves.due()) checkpoints.save(...);
///
/// Clocks differ, so that only the group's rank 0 looks at one, and sets the trigger; anybody else
/// may set it too (trigger().set("..."), `lockstep trigger JOB save`): then it is due now. Who has
/// been asked is in trigger().report(). Every kind of being due starts the others anew.
class EverySoOften {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  EverySoOften(Group& group, const std::string& name, const EverySoOftenOptions& options,
               Clock clock = std::chrono::steady_clock::now)
      : trigger_(group.trigger(name)),
        options_(options),
        keeps_time_(group.rank() == 0 && options.time.count() > 0),
        clock_(std::move(clock)),
        last_(clock_()) {}

  /// Collective; one round while it is not asked for.
  bool due(const Options& options = {}, const Where& where = Where::current()) {
    look(where);
    return settle(trigger_.check(options, where));
  }
  /// The halves of due(), around a check of several triggers: look(), check_triggers() with
  /// trigger(), and settle() with what that says about it.
  void look(const Where& where = Where::current()) {
    if (keeps_time_ && !is_asked_ && clock_() - last_ >= options_.time) {
      trigger_.set("it is time", 0, 0, where);
      is_asked_ = true;
    }
  }
  bool settle(bool has_fired) {
    ++calls_;
    if (!has_fired && (options_.calls == 0 || calls_ < options_.calls)) return false;
    calls_ = 0;
    is_asked_ = false;
    if (keeps_time_) last_ = clock_();
    return true;
  }
  Trigger& trigger() noexcept { return trigger_; }

 private:
  Trigger trigger_;
  EverySoOftenOptions options_;
  bool keeps_time_;
  bool is_asked_ = false;  ///< by this rank's clock, and not told yet
  Clock clock_;
  std::chrono::steady_clock::time_point last_;
  std::uint64_t calls_ = 0;  ///< since it was last due
};

}  // namespace lockstep
