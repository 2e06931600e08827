// Who speaks for a node in a group on several: passes the outcomes of sections on, agrees with the
// others on where polls meet and on who is left, asks and answers for its members. A speaker that
// dies has a successor: the lowest member that is left says hello to the other nodes. A rank that
// goes first after another one is ready for that while it works, since the others may be away.
//
// Driven like the leader of rounds: by a caller's own thread in a wait, else by the port's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine/outcomes.hpp"
#include "runtime/node/local_group.hpp"
#include "runtime/progress/polls.hpp"
#include "runtime/progress/port.hpp"
#include "runtime/progress/rolls.hpp"

namespace lockstep::progress {

class Speaker final : public Listener, public engine::OutcomeStore {
 public:
  /// What the group knows about its members.
  struct Facts {
    /// By number within the group on this node.
    node::SectionRing::IsGone is_gone;
    /// The record to decide on if an attempt's first is gone.
    std::function<std::string(const node::LocalGroup::Inquiry&)> if_dead;
    std::vector<Rank> here;  ///< ranks within the group of the members on this node
  };

  /// @param own_address  Not empty: this process is no speaker yet, and becomes one when the
  ///                     present one is gone.
  Speaker(Port& port, node::LocalGroup& local, engine::Outcomes::Setup setup, Facts facts,
          std::vector<std::byte> own_address = {});
  ~Speaker() override;

  // All with the port's mutex held.
  /// A member here has ended its section; its record is in the ring.
  void publish(Attempt attempt, std::string_view record);
  void inquire(const node::LocalGroup::Inquiry& inquiry);
  bool is_speaker() const noexcept { return local_.speaker() == local_.self(); }
  /// Who speaks for a node of the group, as far as is known here; nobody: it is lost.
  std::optional<Rank> speaker_of(NodeIndex node) const {
    if (!outcomes_.is_there(node)) return std::nullopt;
    return outcomes_.setup().speakers[node];
  }
  /// While a member goes first here: there has to be a speaker.
  void set_on_duty(bool is_on_duty) noexcept { is_on_duty_ = is_on_duty; }
  /// See Outcomes::miss_address() and make_all_known().
  void miss_address_of(Rank rank);
  void make_all_known() { outcomes_.make_all_known(); }
  const std::map<NodeIndex, engine::Outcomes::Newcomer>& newcomers() const noexcept {
    return outcomes_.newcomers();
  }
  /// Becomes the speaker if there is none any more.
  void try_to_take_over();
  /// Becomes the speaker. One that lives notices at its next frame.
  void take_over();
  bool is_unconfirmed() const noexcept { return outcomes_.is_busy(); }
  /// Nothing of this node waits to be known elsewhere, as far as this process has to see to it.
  bool is_settled() const;

  // Listener
  void on_frame(const engine::Frame& frame) override;
  void on_lost(Rank rank) override;
  bool on_idle(Nanos now) override;
  // OutcomeStore
  std::optional<Kept> find(Attempt attempt) const override;
  void keep(Attempt attempt, std::string_view record, bool is_decided) override;
  void release(Attempt attempt) override;
  bool is_alive(Rank group_rank) const override;

 private:
  void send();
  void welcome_newcomers();
  bool has_left_over() const;
  void send_left_over();
  void grant_turn();

  Port& port_;
  node::LocalGroup& local_;
  Facts facts_;
  engine::Outcomes outcomes_;
  Polls polls_;
  Rolls rolls_;
  engine::Output output_;
  std::vector<std::byte> own_address_;
  bool is_on_duty_ = false;
  std::optional<Attempt> wanted_turn_;
  std::uint64_t published_ = 0;  ///< as far as this process has sent
};

/// Frames of a group's sections travel under a number of their own.
constexpr GroupId speakers_of(GroupId group) noexcept {
  return group ^ (GroupId{1} << 63);
}

}  // namespace lockstep::progress
