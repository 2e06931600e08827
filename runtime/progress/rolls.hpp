// The roll calls of a group on several nodes, as its node's speaker sees to them: the agreement
// between nodes on one side, the board in the node's page on the other.
#pragma once

#include <functional>
#include <vector>

#include "runtime/engine/agreement.hpp"
#include "runtime/engine/outcomes.hpp"
#include "runtime/node/roll_board.hpp"

namespace lockstep::progress {

/// Others of a node that has lost its speaker may live, and have not noticed yet: only the time
/// limit of a roll call gives them up.
class PatientPresence final : public engine::Presence {
 public:
  explicit PatientPresence(const engine::Outcomes& outcomes) : outcomes_(outcomes) {}
  bool is_there(NodeIndex node) const override { return outcomes_.is_there(node); }
  bool is_given_up(NodeIndex node, Nanos /*now*/) const override {
    return outcomes_.is_empty(node);
  }
  bool is_anchor(NodeIndex node) const override { return outcomes_.is_anchor(node); }
  /// Who cannot reach all others would take them for lost.
  bool can_coordinate(NodeIndex node, Nanos /*now*/) const override {
    const bool is_here = node == outcomes_.setup().self;
    return is_here ? outcomes_.knows_all() : is_there(node);
  }

 private:
  const engine::Outcomes& outcomes_;
};

class Rolls final : public engine::AgreementStore {
 public:
  using IsGone = std::function<bool(std::uint32_t local_member)>;

  Rolls(node::RollBoard& board, const engine::Agreement::Setup& setup,
        const engine::Outcomes& outcomes, IsGone is_gone);

  engine::Agreement& between() noexcept { return agreement_; }
  bool is_busy() const noexcept { return agreement_.is_busy(); }

  /// The place of each member: they lie in the order of their nodes, so that a node that is lost is
  /// one range, however ranks lie on nodes.
  static std::vector<std::uint32_t> places(const std::vector<NodeIndex>& node_of, NodeIndex nodes);

  // AgreementStore
  std::uint64_t agreement() const override { return board_.agreement(); }
  Value agreed() const override { return encode(board_.missing()); }
  engine::Ballot promise() const override { return engine::Ballot::unpacked(board_.promise()); }
  void promise(engine::Ballot ballot) override { board_.promise(ballot.packed()); }
  Wish wants() const override;
  std::optional<Value> hold(std::uint64_t number, bool at_once) override;
  void commit(std::uint64_t number, const Value& missing) override;
  void add(Value& missing, const Value& there) const override;
  void leave_out(Value& missing, NodeIndex node) const override;
  Value conclude(Value missing) const override;

 private:
  RankSet all() const { return RankSet({{0, begins_.back()}}); }
  RankSet decode(const Value& value) const;
  Value encode(const RankSet& missing) const;

  node::RollBoard& board_;
  NodeIndex self_;
  IsGone is_gone_;
  std::vector<std::uint32_t> begins_;  ///< the first place of each node, and the end of all
  PatientPresence presence_;
  engine::Agreement agreement_;
};

}  // namespace lockstep::progress
