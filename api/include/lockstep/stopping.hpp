// What training loops do with triggers: stop when nothing gets better, save every so often, stop
// cleanly whoever asks. On top of lockstep/lockstep.hpp, which does not include it.
#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

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

/// Beside what the settings say (LOCKSTEP_SIGNALS, LOCKSTEP_STOP_BEFORE_END, LOCKSTEP_TRIGGER_FILE)
/// and `lockstep trigger JOB`, which stop it in any case.
struct CleanStopOptions {
  std::vector<int> signals{};  ///< instead of ending the process: {SIGTERM, SIGUSR1}
  /// Stop when less than this is left to the job's end, or than another save takes, by the longest
  /// so far and half as much on top. Nothing: as the setting says.
  std::optional<std::chrono::nanoseconds> margin{};
  std::string file{};         ///< who touches it stops the job; empty: none
  std::string name = "stop";  ///< of the trigger: `lockstep trigger JOB stop`
};

/// Stops all ranks in the same step, whoever asks for it and however, and saves once:
///
///   CleanStop stop(job, {.signals = {SIGTERM}, .margin = 60s, .file = "run/stop"});
///   stop.on_stop([&] { checkpoints.save(step); });
///   for (step = 0; !stop.poll(step); ++step) train(step);
///   job.print(stop.report().text);
///
/// To be made by all ranks alike, and to end before the session. Once it has stopped, poll() and
/// check() are true without asking anybody: inner loops end, then outer ones.
class CleanStop {
 public:
  explicit CleanStop(Session& session, const CleanStopOptions& options = {})
      : trigger_(session.trigger(options.name)) {
    try {
      trigger_.on_anything_else();
      for (const int signal : options.signals) trigger_.on_signal(signal);
      if (options.margin) trigger_.before_end(*options.margin);
      if (!options.file.empty()) trigger_.on_file(options.file);
    } catch (...) {
      trigger_.close();
      throw;
    }
  }
  ~CleanStop() { trigger_.close(); }
  CleanStop(const CleanStop&) = delete;
  CleanStop& operator=(const CleanStop&) = delete;

  /// To be run when it stops, on every rank, after those that were added before.
  void on_stop(std::function<void()> hook) { hooks_.push_back(std::move(hook)); }

  /// Asks all to stop. Local, any thread.
  void set(const std::string& reason, std::uint64_t value = 0,
           const Where& where = Where::current()) {
    if (!has_stopped()) trigger_.set(reason, value, step_, where);
  }

  /// Is it time to stop? The same answer on all ranks in the same call; `step` is for the reports.
  /// When it is, all hooks run before this returns. If one throws, the others run all the same;
  /// then this throws what it threw, or, if there were several, a std::runtime_error that has all
  /// texts.
  bool check(std::uint64_t step, const Options& options = {},
             const Where& where = Where::current()) {
    step_ = step;
    return has_stopped() || settle(trigger_.check(options, where));
  }
  /// The same, free while nobody asks.
  bool poll(std::uint64_t step, const Options& options = {},
            const Where& where = Where::current()) {
    step_ = step;
    return has_stopped() || settle(trigger_.poll(options, where));
  }
  /// What check() and poll() do with the answer, for who checks trigger() together with others.
  bool settle(bool has_fired) {
    if (!has_fired) return false;
    since_ = std::chrono::steady_clock::now();
    has_stopped_ = true;
    run_hooks();
    return true;
  }

  bool has_stopped() const noexcept { return has_stopped_; }
  /// Of the last check() or poll(): once it has stopped, where.
  std::uint64_t step() const noexcept { return step_; }
  /// Why it has stopped; the same on all ranks.
  TriggerReport report() const { return trigger_.report(); }
  /// What is left to the job's end, as it was known on the rank that the report names, less what
  /// has passed since. Nothing: there is no end that anybody knows of.
  std::optional<std::chrono::nanoseconds> left() const {
    const auto left = report().left;
    if (!left) return std::nullopt;
    return *left - (std::chrono::steady_clock::now() - since_);
  }
  Trigger& trigger() noexcept { return trigger_; }

 private:
  void run_hooks() {
    std::exception_ptr first;
    std::size_t failures = 0;
    std::string texts;
    for (std::size_t i = 0; i < hooks_.size(); ++i) {
      try {
        hooks_[i]();
      } catch (...) {
        if (!first) first = std::current_exception();
        texts += (++failures > 1 ? "; hook " : "hook ") + std::to_string(i + 1) + ": " +
                 detail::Thrown::now().text;
      }
    }
    if (failures == 1) std::rethrow_exception(first);
    if (failures > 1) {
      throw std::runtime_error(std::to_string(failures) + " of " + std::to_string(hooks_.size()) +
                               " hooks of a stop failed: " + texts);
    }
  }

  Trigger trigger_;
  std::vector<std::function<void()>> hooks_;
  std::atomic<std::uint64_t> step_{0};  // set() may be another thread's
  std::atomic<bool> has_stopped_{false};
  std::chrono::steady_clock::time_point since_{};  ///< it has stopped
};

}  // namespace lockstep
