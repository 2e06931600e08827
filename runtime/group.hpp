// A group: its rounds, its sections, and what is built on them, as one member calls them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/lockstep.h"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/bootstrap/identity.hpp"
#include "runtime/config/config.hpp"
#include "runtime/engine/outcome.hpp"
#include "runtime/node/contacts.hpp"
#include "runtime/node/exits.hpp"
#include "runtime/node/local_group.hpp"
#include "runtime/node/page.hpp"
#include "runtime/observe/counters.hpp"
#include "runtime/progress/leader.hpp"
#include "runtime/progress/lookout.hpp"
#include "runtime/progress/port.hpp"
#include "runtime/progress/speaker.hpp"
#include "runtime/topology/switches.hpp"

namespace lockstep {

class Triggers;

/// What a member is doing; part of a call's signature, so that different calls do not match.
enum class Operation : std::uint8_t {
  wait_for_everyone,
  check_trigger,
  check,  ///< of triggers that have names
  first,
  once,
  broadcast,
  gather,
  split,
  print_in_order,
  requeue,
  poll,  ///< the same
  poll_trigger,
  save,
  checkpoint_save,
  checkpoint_latest,
  checkpoint_load,
  scope,
  at_most,
  catch_up,      ///< the hidden round that keeps a first from running too far ahead
  exit_barrier,  ///< of a section that has one
  wait_for_everyone_on,
  stream_barrier,
  stream_bit,
  shrink,
};
const char* operation_name(Operation operation);

/// "train.cpp:12"; empty where the place is not known.
std::string place_text(const char* file, std::uint32_t line);

/// A call as the user made it.
struct Call {
  Operation operation;
  const char* name = nullptr;  ///< borrowed, may be NULL
  const char* file = nullptr;  ///< borrowed, may be NULL
  std::uint32_t line = 0;
  std::optional<Nanos> timeout = std::nullopt;  ///< nothing: the configured one
  std::uint32_t variant = 0;                    ///< what else members have to agree on
  std::uint64_t name_hash = 0;                  ///< of a long name, if it is known; or 0

  std::uint32_t signature() const noexcept;
  std::uint64_t key() const noexcept;  ///< stands for the whole site
  std::string text() const;            ///< "train.cpp:12 wait_for_everyone 'epoch end'"
};

/// How a section deals with a first that fails; see lockstep_section_t.
struct SectionRules {
  lockstep_policy_t policy = LOCKSTEP_PROPAGATE;
  bool has_exit_barrier = false;

  std::uint32_t variant() const noexcept {
    return static_cast<std::uint32_t>(policy) << 1 | (has_exit_barrier ? 1 : 0);
  }
  static bool retries(std::uint32_t variant) noexcept {
    return variant >> 1 == LOCKSTEP_RETRY_NEXT;
  }
};

/// How a section ended, as this member has learnt it.
struct SectionEnd {
  Attempt attempt;
  engine::Outcome outcome;
};

/// What all groups of a session share. Outlives them.
struct Surroundings {
  const Config& config;
  const bootstrap::Identity& identity;
  node::Page& page;
  Counters& counters;
  node::WaitPolicy policy;
  progress::Port* port = nullptr;  ///< on processes that lead a group on several nodes
  bool can_publish = true;         ///< the transport carries frames, not only group operations
  /// Above each node, as far as this process needs to know: all of them on node leaders, those of
  /// its own groups on other leaders.
  std::vector<topology::SwitchPath> switches{};
  node::Exits exits{};  ///< where Slurm tells
  /// Opens this process's own way to other nodes, if it has none yet.
  std::function<Result<progress::Port*>()> open_port{};
};

class Group {
 public:
  /// How a group's nodes find each other.
  struct Ways {
    /// Addresses of those who speak for them, in the order of nodes, as far as they are known;
    /// empty: the page has them (the job's group), or there is one node.
    std::vector<node::Address> contacts{};
    /// On leaders: those whose address not all members know.
    std::vector<engine::Outcomes::Newcomer> newcomers{};
    bool are_switches_known = true;  ///< to all leaders
    /// By node: all members know that address; empty: all of them.
    std::vector<bool> is_known{};
  };
  /// @param ranks   Job ranks of all members, ascending.
  /// @param block   The group's block in this node's page.
  static Result<std::unique_ptr<Group>> make(Surroundings& around, GroupId id,
                                             std::vector<Rank> ranks, std::uint32_t block,
                                             Ways ways);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  GroupId id() const noexcept { return id_; }
  Rank rank() const noexcept { return self_; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(ranks_.size()); }
  const std::vector<Rank>& ranks() const noexcept { return ranks_; }
  Surroundings& around() noexcept { return around_; }
  Triggers& triggers() noexcept { return *triggers_; }
  /// A number that grows by one with every split; equal on all members.
  std::uint64_t next_split() noexcept { return ++splits_; }

  /// One whole round. `result`, if wanted, stays valid until this member's next round.
  Status round(const Call& call, const node::Words& mine = {}, node::Words* result = nullptr);
  Status arrive(const Call& call, const node::Words& mine, Nanos start);
  Status test();
  Status wait();

  /// @return LOCKSTEP_OK: the member runs the section, is_first() or after who was.
  Status first_begin(Call call, const SectionRules& rules);
  /// In the innermost open section: is this member the one that goes first?
  bool is_first() const noexcept {
    return !open_sections_.empty() && open_sections_.back().is_first;
  }
  /// @param type, text  What the outcome brings to the others; cut like that of a failure.
  Status first_end(std::string_view type = {}, std::string_view text = {}) {
    return end_section(engine::OutcomeKind::ok, type, text);
  }
  Status first_fail(std::string_view type, std::string_view text) {
    return end_section(engine::OutcomeKind::failed, type, text);
  }
  /// Nodes exchange whole rounds only, and sections are rounds there.
  bool is_round_based() const noexcept { return is_wide_ && !around_.can_publish; }
  /// Of the last section that this member has seen the end of.
  const std::optional<SectionEnd>& section_end() const noexcept { return section_end_; }

  /// enter() is this member's next poll, as long as nothing is set anywhere. False: see meets().
  node::PollBoard& polls() noexcept { return local_->polls(); }
  /// Is the poll that was entered last the one in which all members meet? They are then all in the
  /// same poll, and whatever was set before has led to this meeting or to an earlier one. Where
  /// nodes exchange rounds only, all meet in every poll.
  Result<bool> meets(const Call& call);
  std::uint64_t poll_number() noexcept { return local_->polls().number(); }
  /// The meeting is over. One that broke stands, for those who are to find out there.
  void has_met() noexcept {
    if (!local_->is_broken()) local_->polls().finish(poll_number());
  }
  /// Once this member polls, `look` is called now and then on another thread: it may want a
  /// meeting.
  void look_out(std::function<void()> look) { look_out_ = std::move(look); }
  /// Does this member speak for its node?
  bool is_speaker() const noexcept { return speaker_ != nullptr && speaker_->is_speaker(); }
  /// All members shall meet in one of their next polls. Any thread, also in a signal handler.
  void want_meeting() noexcept { local_->polls().want(); }

  /// Job ranks of members on this node that have left or ended. Any thread.
  std::vector<Rank> gone_here() const;

  /// Who of the members is left, as all of them see it.
  struct Roll {
    std::uint64_t number = 0;
    std::vector<Rank> present;  ///< job ranks, ascending; this one is among them
  };
  /// Waits for every member that is not gone. Works on a group that is broken, too.
  Result<Roll> call_roll(const Call& call);
  /// The block of the group of those who are left, on this node, which one of them claims there.
  Result<std::uint32_t> inherit(const Call& call, const Roll& roll, GroupId id);
  /// This member leads its node in the group of those who are left, which has these leaders: waits
  /// a while until it can reach those of them that have come after another one.
  Status lead_those_left(const Call& call, const std::vector<Rank>& leaders);
  /// Between these leaders, as far as they are known here.
  Ways ways_between(const std::vector<Rank>& leaders) const;
  /// The group of those who are left has met: all of its members know them.
  void set_contacts(std::vector<node::Address> contacts);
  /// Until then somebody may not have heard who is left: while this group's members wait, the one
  /// that it comes from goes on telling.
  void look_after(Group* parent) { parent_ = parent; }
  Group* forget_parent() { return std::exchange(parent_, nullptr); }

  /// An open "at most k at a time" of this member. The caller's name is not promised to live.
  struct Waves {
    std::uint32_t width;
    Call call;
    std::optional<std::string> name;
  };
  std::optional<Waves>& waves() noexcept { return waves_; }

 private:
  struct Watch;  // what a long wait keeps an eye on
  /// The caller's name is not promised to live until the section's end.
  struct OpenSection {
    Attempt attempt;
    bool is_first;
    SectionRules rules;
    Call call;
    std::optional<std::string> name;

    Call named() const {
      Call copy = call;
      copy.name = name ? name->c_str() : nullptr;
      return copy;
    }
  };
  /// How the group lies on its nodes, which are numbered in the order of their lowest members.
  struct Layout {
    std::vector<NodeIndex> nodes;    ///< as nodes of the job
    std::vector<Rank> speakers;      ///< job rank of the lowest member of each
    std::vector<NodeIndex> node_of;  ///< of each member, as a node of the group
    NodeIndex self = 0;
  };

  Group(Surroundings& around, GroupId id, std::vector<Rank> ranks, std::uint32_t block);
  Layout layout() const;
  Result<std::unique_ptr<progress::Leader>> make_leader(std::vector<Rank> local_ranks);
  std::unique_ptr<progress::Speaker> make_speaker(progress::Port& port,
                                                  std::vector<std::byte> own_address = {});

  Status finish(node::Words* result);
  void step() noexcept;
  void finish_here();
  template <class Ready>
  Status watch(node::Bell& bell, Watch& watch, Ready&& ready);
  Status look(Watch& watch);
  Status look_at_round(Watch& watch, Nanos time);
  Status look_at_section(Watch& watch, Nanos time);
  Status look_at_poll(Watch& watch, Nanos time);
  Status look_at_roll(Watch& watch, Nanos time);
  void report_roll(const Watch& watch, double seconds) const;
  void see_to_roll();
  void go_on_telling(Nanos time);
  void speak_for_those_left();
  bool is_roll_over() noexcept;
  Result<std::vector<Rank>> read_roll(const Call& call);
  Status stay_behind(const Call& call);
  void name_poll(const node::PollBoard::View& seen) noexcept;
  /// For how long a meeting has been waiting for members of this node.
  struct Late {
    std::uint64_t fire = 0;
    Nanos since = 0;
    Nanos report_at = 0;
  };
  void start_polling();
  void look_for_late(Late& late) const;
  void look_for_dead();
  std::string last_call(std::uint32_t local_member) const;
  void urge_speaker();
  void compare_polls() const;
  bool lacks_speaker() const;
  void see_to_speaker();
  void speak_instead();
  void poll_port() noexcept;
  void give_up_round(Watch& watch, Nanos time);
  void report(const Watch& watch, Nanos time) const;
  void fail_here(engine::Verdict verdict);
  bool is_gone(std::uint32_t local_member) const;
  bool has_ended(Rank rank) const;
  std::string obituary(std::uint32_t local_member) const;
  std::string whereabouts(const RankSet& ranks) const;
  Status broken(const Call& call) const;
  bool speaks() const noexcept { return leader_ != nullptr || speaker_ != nullptr; }
  node::SectionRing::IsGone gone_test() const;
  engine::Outcome outcome_if_dead(const node::LocalGroup::Inquiry& inquiry) const;
  void inquire(const Watch& watch);
  Status stand_by();
  Status take_turn(const Call& call, Attempt attempt);
  void stay_on_duty(bool is_on_duty);
  void settle_sections();
  Status wait_for_outcome(const Call& call, Attempt attempt);
  Status judge(const Call& call, const SectionRules& rules, const SectionEnd& end) const;
  void write_outcome(const Call& call, const OpenSection& open, engine::OutcomeKind kind,
                     std::string_view type, std::string_view text);
  Status end_section(engine::OutcomeKind kind, std::string_view type, std::string_view text);
  Status publish(const Call& call, Attempt attempt, const std::string& record);
  Status exit_barrier(Call call);
  std::string first_text(const engine::Outcome& outcome) const;
  [[noreturn]] void abort_job(const std::string& why) const;
  bool has_next(Attempt attempt) const noexcept;
  std::optional<std::uint32_t> member_here(Rank rank) const;

  Surroundings& around_;
  GroupId id_;
  std::vector<Rank> ranks_;
  Rank self_ = 0;                  ///< within the group
  std::vector<Rank> local_ranks_;  ///< job ranks of the members here
  std::uint32_t block_;
  bool is_wide_ = false;  ///< has members on several nodes
  std::unique_ptr<node::LocalGroup> local_;
  Ways ways_;
  std::unique_ptr<progress::Leader> leader_;    ///< of a wide group, on its leaders
  std::unique_ptr<progress::Speaker> speaker_;  ///< on who speaks for its node

  Epoch epoch_ = 0;
  bool is_open_ = false;
  Call call_{Operation::wait_for_everyone};
  Nanos start_ = 0;  ///< of the open round; 0: not read yet

  std::uint64_t section_ = 0;
  std::uint32_t sections_since_round_ = 0;
  std::vector<OpenSection> open_sections_;
  std::optional<SectionEnd> section_end_;
  // In a loop all records of a section are alike: what was written or read last need not be
  // encoded or decoded again.
  std::string section_record_;         ///< that of section_end_
  std::uint64_t section_own_key_ = 0;  ///< not 0: of this member's call that succeeded with it
  node::SectionRing::Record section_room_;
  std::uint64_t splits_ = 0;
  std::uint64_t rolls_ = 0;
  Group* parent_ = nullptr;
  Status left_behind_;         ///< this member has missed a roll call, and the others go on
  Nanos speaker_look_at_ = 0;  ///< of polls, which come often
  Nanos dead_look_at_ = 0;     ///< of the lookout
  Nanos tell_look_at_ = 0;     ///< of who has heard who is left
  std::function<void()> look_out_;
  std::unique_ptr<progress::Lookout> lookout_;
  std::optional<Waves> waves_;
  std::unique_ptr<Triggers> triggers_;
};

}  // namespace lockstep
