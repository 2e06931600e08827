// The polls of a group on several nodes, as its node's speaker sees to them: the agreement between
// nodes on one side, the board in the node's page on the other.
#pragma once

#include <algorithm>

#include "runtime/engine/agreement.hpp"
#include "runtime/node/poll_board.hpp"

namespace lockstep::progress {

class Polls final : public engine::AgreementStore {
 public:
  Polls(node::PollBoard& board, const engine::Agreement::Setup& setup,
        const engine::Presence& presence)
      : board_(board), agreement_(setup, *this, presence) {}

  engine::Agreement& between() noexcept { return agreement_; }
  bool is_busy() const noexcept { return agreement_.is_busy(); }
  /// This process speaks for its node since now.
  void take_over() noexcept { board_.repair(); }

  // AgreementStore
  std::uint64_t agreement() const override { return board_.agreement(); }
  Value agreed() const override { return {board_.agreed_fire(), {}}; }
  engine::Ballot promise() const override { return engine::Ballot::unpacked(board_.promise()); }
  void promise(engine::Ballot ballot) override { board_.promise(ballot.packed()); }
  Wish wants() const override {
    const node::PollBoard::Phase phase = board_.look().phase;
    const bool is_wanted = phase == node::PollBoard::Phase::wanted && board_.has_pollers();
    return phase == node::PollBoard::Phase::held || is_wanted ? Wish::some : Wish::none;
  }
  std::optional<Value> hold(std::uint64_t agreement, bool /*at_once*/) override {
    board_.hold(agreement);
    return Value{board_.furthest(), {}};
  }
  void commit(std::uint64_t agreement, const Value& fire) override {
    board_.commit(agreement, fire.word);
  }
  void add(Value& furthest, const Value& here) const override {
    furthest.word = std::max(furthest.word, here.word);
  }
  void leave_out(Value& /*furthest*/, NodeIndex /*node*/) const override {}
  /// All meet in a poll that nobody has reached.
  Value conclude(Value furthest) const override { return {furthest.word + 1, {}}; }

 private:
  node::PollBoard& board_;
  engine::Agreement agreement_;
};

}  // namespace lockstep::progress
