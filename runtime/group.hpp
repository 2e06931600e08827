// A group: its rounds, its sections, and what is built on them, as one member calls them.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/bootstrap/identity.hpp"
#include "runtime/config/config.hpp"
#include "runtime/node/exits.hpp"
#include "runtime/node/local_group.hpp"
#include "runtime/node/page.hpp"
#include "runtime/observe/counters.hpp"
#include "runtime/progress/leader.hpp"
#include "runtime/progress/port.hpp"
#include "runtime/topology/switches.hpp"

namespace lockstep {

/// What a member is doing; part of a call's signature, so that different calls do not match.
enum class Operation : std::uint8_t {
  wait_for_everyone,
  check_trigger,
  first,
  broadcast,
  gather,
  split,
  print_in_order,
  requeue,
  save,
  checkpoint_save,
  checkpoint_latest,
  checkpoint_load,
  scope,
  at_most,
  catch_up,  ///< the hidden round that keeps a first from running too far ahead
};
const char* operation_name(Operation operation);

/// A call as the user made it.
struct Call {
  Operation operation;
  const char* name = nullptr;  ///< borrowed, may be NULL
  const char* file = nullptr;  ///< borrowed, may be NULL
  std::uint32_t line = 0;
  std::optional<Nanos> timeout = std::nullopt;  ///< nothing: the configured one

  std::uint32_t signature() const noexcept;
  std::uint64_t key() const noexcept;  ///< stands for the whole site
  std::string text() const;            ///< "train.cpp:12 wait_for_everyone 'epoch end'"
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
};

class Group {
 public:
  /// @param ranks   Job ranks of all members, ascending.
  /// @param block   The group's block in this node's page.
  static Result<std::unique_ptr<Group>> make(Surroundings& around, GroupId id,
                                             std::vector<Rank> ranks, std::uint32_t block);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  GroupId id() const noexcept { return id_; }
  Rank rank() const noexcept { return self_; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(ranks_.size()); }
  const std::vector<Rank>& ranks() const noexcept { return ranks_; }
  Surroundings& around() noexcept { return around_; }
  /// A number that grows by one with every split; equal on all members.
  std::uint64_t next_split() noexcept { return ++splits_; }

  /// One whole round. `result`, if wanted, stays valid until this member's next round.
  Status round(const Call& call, const node::Words& mine = {}, node::Words* result = nullptr);
  Status arrive(const Call& call, const node::Words& mine, Nanos start);
  Status test();
  Status wait();

  Status first_begin(const Call& call);
  Status first_end(const char* failure);

  /// An open "at most k at a time" of this member. The caller's name is not promised to live.
  struct Waves {
    std::uint32_t width;
    Call call;
    std::optional<std::string> name;
  };
  std::optional<Waves>& waves() noexcept { return waves_; }

 private:
  struct Watch;  // what a long wait keeps an eye on

  Group(Surroundings& around, GroupId id, std::vector<Rank> ranks, std::uint32_t block);
  Result<std::unique_ptr<progress::Leader>> make_leader(std::vector<Rank> local_ranks);

  Status finish(node::Words* result);
  void step() noexcept;
  void finish_here();
  template <class Ready>
  Status watch(node::Bell& bell, Watch& watch, Ready&& ready);
  Status look(Watch& watch);
  Status look_at_round(Watch& watch, Nanos time);
  Status look_at_section(Watch& watch, Nanos time);
  void give_up_round(Watch& watch, Nanos time);
  void report(const Watch& watch, Nanos time) const;
  void fail_here(engine::Verdict verdict);
  bool is_gone(std::uint32_t local_member) const;
  bool has_ended(Rank rank) const;
  std::string obituary(std::uint32_t local_member) const;
  std::string whereabouts(const RankSet& ranks) const;
  Status broken(const Call& call) const;
  Status wait_for_outcome(const Call& call, std::uint64_t section);
  Status adopt_outcome(const Call& call, const std::string& record) const;

  Surroundings& around_;
  GroupId id_;
  std::vector<Rank> ranks_;
  Rank self_ = 0;                  ///< within the group
  std::vector<Rank> local_ranks_;  ///< job ranks of the members here
  std::uint32_t block_;
  bool is_wide_ = false;  ///< has members on several nodes
  std::unique_ptr<node::LocalGroup> local_;
  std::unique_ptr<progress::Leader> leader_;  ///< of a wide group, on its leaders

  Epoch epoch_ = 0;
  bool is_open_ = false;
  Call call_{Operation::wait_for_everyone};
  Nanos start_ = 0;  ///< of the open round; 0: not read yet

  std::uint64_t section_ = 0;
  std::uint32_t sections_since_round_ = 0;
  /// The caller's name is not promised to live until the section's end.
  struct OpenSection {
    std::uint64_t number;
    Call call;
    std::optional<std::string> name;
  };
  std::vector<OpenSection> open_sections_;
  std::uint64_t splits_ = 0;
  std::optional<Waves> waves_;
};

}  // namespace lockstep
