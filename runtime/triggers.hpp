// The named triggers of a group: set on one rank without asking anybody, told to all in a
// collective call, and fired on all of them in the same one.
//
// A set is `untold` until a tell() takes it along. Its record then counts in every rank's board, by
// which all know alike whether the trigger is due; the rank keeps the whole of it (`told`), since
// it has to say why if it turns out to be the first. A due trigger stays due until it is consumed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/lockstep.h"
#include "runtime/base/result.hpp"
#include "runtime/lifecycle/touched_file.hpp"
#include "runtime/lifecycle/watch.hpp"
#include "runtime/node/poll_board.hpp"
#include "runtime/trigger/rules.hpp"
#include "runtime/trigger/tally.hpp"

namespace lockstep {

class Group;
class Triggers;
struct Call;

/// Why somebody sets a trigger, as the program says it.
struct TriggerCause {
  std::string_view reason{};  ///< cut after trigger::kReasonMax bytes
  std::uint64_t value = 0;
  std::uint64_t step = 0;
  std::string_view site{};  ///< "train.cpp:12"
};

/// One of a group's triggers. Lives until it is closed, or the group ends.
class Trigger {
 public:
  Trigger(Triggers& owner, std::string name, const trigger::Rules& rules);
  Triggers& owner() const noexcept { return owner_; }
  const std::string& name() const noexcept { return name_; }
  /// "stop", or "stop (all, sum)": in which members that check it have to agree.
  const std::string& title() const noexcept { return title_; }
  /// It fires in the next call that consumes it. One load, any thread.
  bool is_due() const noexcept { return is_due_.load(std::memory_order_acquire); }

 private:
  friend class Triggers;
  /// A set that this rank remembers.
  struct Set {
    std::uint64_t value = 0;
    std::uint64_t step = 0;
    Nanos time = 0;  ///< since 1970
    std::string reason{};
    std::string site{};
    lifecycle::Notice notice{};
  };
  void merge(std::optional<Set>& into, std::optional<Set> more) const;

  Triggers& owner_;
  std::string name_;
  std::uint64_t id_;
  trigger::Rules rules_;
  std::string title_;
  std::atomic<bool> is_due_{false};
  std::uint64_t checks_ = 0;  ///< of the thread that uses the group
  // All that follows is guarded by the owner's mutex.
  unsigned opened_ = 1;  ///< times
  lifecycle::Signals signals_ = 0;
  std::optional<Set> untold_;
  std::optional<Set> telling_;  ///< by the call that is going on
  std::optional<Set> told_;     ///< since it last fired
  std::optional<lockstep_trigger_report_t> last_;
  bool minds_loss_ = false;  ///< not yet told of one
};

class Triggers {
 public:
  static constexpr std::size_t kOpenMax = 64;

  explicit Triggers(Group& group);
  ~Triggers();
  Group& group() const noexcept { return group_; }

  /// Local. The same name again gives the same trigger; LOCKSTEP_E_INVALID if the rules differ.
  Result<Trigger*> open(std::string_view name, const trigger::Rules& rules);
  /// Once for every open(). What was set and not told yet is told all the same.
  void close(Trigger& trigger);
  /// The trigger without a name, of lockstep_check_trigger(). The first call makes it.
  Trigger& unnamed();
  /// From now on requests that name nobody, and the time, are for the unnamed trigger, and so are
  /// signals that no other is bound to.
  void listen_to(lifecycle::Watch& watch) noexcept { watch_ = &watch; }
  /// This signal sets that trigger; those who catch it ask lifecycle::Watch.
  void bind(Trigger& trigger, int signal);
  /// Who touches this file sets that trigger, which had none, or another one.
  Status bind_file(Trigger& trigger, std::string_view path);
  /// The time sets that trigger, when lifecycle::Watch says so.
  void bind_end(Trigger& trigger);
  /// That trigger hears of what the unnamed one would hear of otherwise.
  void bind_rest(Trigger& trigger);
  /// Whoever writes anything but 0 to that word sets that trigger; nullptr: nobody does.
  void bind_word(Trigger& trigger, std::uint64_t* word);
  /// Looks at the files if it is time for that. True: one was touched, and waits to be told. Any
  /// thread.
  bool look_at_files() {
    return next_file_look_.load(std::memory_order_relaxed) != kNever && look_at_files_now();
  }

  /// If the group breaks because a member is lost, the next check or poll of the trigger fires,
  /// once, instead of failing. To be called on all members.
  void bind_loss(Trigger& trigger) noexcept { trigger.minds_loss_ = true; }

  /// Local, any thread.
  void set(Trigger& trigger, const TriggerCause& cause = {});
  /// Takes along what signals, requests and the time have to say. Part of tell(); by itself it is
  /// for who wants to know whether a tell() is worth its while.
  void take_sources(const Call& call);
  /// A few ns, any thread.
  bool has_untold() const noexcept { return untold_.load(std::memory_order_acquire) > 0; }

  /// Tells everybody everybody's untold sets, of all triggers of the group. Collective; one round
  /// if there are none. After it all ranks agree on which triggers are due, and on their reports.
  /// If it fails, nothing counts, and what this rank had to tell is untold again.
  /// LOCKSTEP_E_MISMATCH: ranks have opened a trigger with different rules; on all ranks.
  Status tell(const Call& call);
  /// Fires the trigger if it is due; at the same call on all ranks. `number`: of the check or poll,
  /// for the report; 0: of the checks.
  bool consume(Trigger& trigger, std::uint64_t number = 0);
  /// Tells, and consumes these, which are of this group. `fired`: as long; 1 or 0. Collective.
  Status check(Call call, std::span<Trigger* const> triggers, std::span<int> fired);
  /// Were these the ones that were checked last?
  bool checks_again(std::span<Trigger* const> triggers) const noexcept {
    return std::equal(triggers.begin(), triggers.end(), checked_.begin(), checked_.end());
  }
  /// The same for the unnamed one.
  Result<bool> check_unnamed(const Call& call);
  /// It is checked or polled: only then requests that name nobody are taken.
  void expect_unnamed() noexcept { is_unnamed_checked_ = true; }

  /// Polls: free while nothing is set. False: poll() has to look.
  bool poll_quickly(const Trigger& trigger) noexcept {
    return polls_.enter() && !trigger.is_due() && (words_.empty() || no_word_is_written());
  }
  /// Of the unnamed one, which has been asked for before.
  bool poll_quickly() noexcept { return poll_quickly(*unnamed_); }
  /// Does it fire in this poll? A meeting of all members, which tells, where they have agreed on.
  Result<bool> poll(Call call, Trigger& trigger);

  /// Of the last time that it fired.
  std::optional<lockstep_trigger_report_t> last(const Trigger& trigger) const;
  /// Logs what this member had set and nobody will hear of, at the end of the group.
  void log_unheard();
  /// How often it has been checked, by the last count.
  std::uint64_t checks(const Trigger& trigger) const noexcept { return trigger.checks_; }

 private:
  /// What all ranks know alike of a trigger that somebody has set since it last fired.
  struct Entry {
    trigger::Tally tally;
    lockstep_trigger_report_t report{};  ///< once it is due
  };
  using Board = std::map<std::uint64_t, Entry>;

  struct WatchedFile {
    Trigger* trigger;
    lifecycle::TouchedFile file;
  };

  struct WatchedWord {
    Trigger* trigger;
    std::uint64_t* word;

    bool is_written() const noexcept {
      return std::atomic_ref(*word).load(std::memory_order_acquire) != 0;
    }
  };

  Trigger* find(std::uint64_t id) const;
  void unbind(Trigger& trigger);
  bool look_at_files_now();
  bool take_words() { return !words_.empty() && take_written_words(); }
  bool take_written_words();
  bool no_word_is_written() const noexcept;
  Trigger* rest() const noexcept { return catch_all_ != nullptr ? catch_all_ : unnamed_; }
  lifecycle::Signals signals_of(const Trigger& trigger) const;
  std::size_t open_count() const;
  void forget_closed();
  std::string title_of(std::span<Trigger* const> triggers);
  void record(Trigger& trigger, Trigger::Set set);
  void count_untold();
  void count_due();
  void count_checks() noexcept;
  bool fires_for_loss(Trigger& trigger, const Status& status, std::uint64_t number);
  std::vector<trigger::Record> begin_telling();
  void settle(bool is_told);
  Status exchange(const Call& call, std::uint64_t word, std::span<const trigger::Record> mine);
  Result<std::vector<Rank>> setters(const Call& call, std::uint64_t word, bool is_one);
  Result<std::vector<trigger::Record>> everybodys(const Call& call, std::span<const Rank> setters,
                                                  std::span<const trigger::Record> mine);
  Status agree_on_rules(const Call& call, std::span<const trigger::Record> records);
  std::string odd_rules(std::span<const trigger::Record> records) const;
  Status explain(const Call& call, std::uint64_t id, Entry& entry);
  lockstep_trigger_report_t own_report(std::uint64_t id) const;
  void post(Board board);

  Group& group_;
  node::PollBoard& polls_;
  trigger::Members members_;
  lifecycle::Watch* watch_ = nullptr;
  std::atomic<std::size_t> untold_{0};  ///< triggers
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Trigger>> triggers_;
  std::vector<WatchedWord> words_;  ///< of the thread that uses the group
  Trigger* unnamed_ = nullptr;
  Trigger* catch_all_ = nullptr;  ///< in its place, for sources
  bool is_unnamed_checked_ = false;
  std::uint64_t meets_in_ = 0;            ///< number of the poll that tells; 0: a check does
  bool has_fired_ = false;                ///< any of them
  bool has_failed_ = false;               ///< the last tell(), and the program knows
  std::atomic<Trigger*> timed_{nullptr};  ///< hears of the time; nullptr: the rest does
  // Looking may take long, where a file server is away: the one above is not held meanwhile.
  std::mutex files_mutex_;
  std::vector<WatchedFile> files_;
  std::atomic<Nanos> next_file_look_{kNever};  ///< never: there are none
  Board board_;
  std::atomic<std::size_t> due_{0};     ///< of those that are open
  std::uint64_t uncounted_checks_ = 0;  ///< of those that were checked last
  std::vector<Trigger*> checked_;       ///< last
  std::string checked_title_;
  std::uint64_t checked_hash_ = 0;
};

}  // namespace lockstep
