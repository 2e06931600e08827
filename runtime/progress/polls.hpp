// The polls of a group on several nodes, as its node's speaker sees to them: the agreement between
// nodes on one side, the board in the node's page on the other.
#pragma once

#include "runtime/engine/poll_agreement.hpp"
#include "runtime/node/poll_board.hpp"

namespace lockstep::progress {

class Polls final : public engine::PollStore {
 public:
  Polls(node::PollBoard& board, const engine::PollAgreement::Setup& setup,
        const engine::Presence& presence)
      : board_(board), agreement_(setup, *this, presence) {}

  engine::PollAgreement& between() noexcept { return agreement_; }
  bool is_busy() const noexcept { return agreement_.is_busy(); }
  /// This process speaks for its node since now.
  void take_over() noexcept { board_.repair(); }

  // PollStore
  std::uint64_t agreement() const override { return board_.agreement(); }
  std::uint64_t fire() const override { return board_.agreed_fire(); }
  engine::Ballot promise() const override { return engine::Ballot::unpacked(board_.promise()); }
  void promise(engine::Ballot ballot) override { board_.promise(ballot.packed()); }
  bool wants() const override {
    const node::PollBoard::Phase phase = board_.look().phase;
    if (phase == node::PollBoard::Phase::held) return true;
    return phase == node::PollBoard::Phase::wanted && board_.has_pollers();
  }
  std::uint64_t hold(std::uint64_t agreement) override {
    board_.hold(agreement);
    return board_.furthest();
  }
  void commit(std::uint64_t agreement, std::uint64_t fire) override {
    board_.commit(agreement, fire);
  }

 private:
  node::PollBoard& board_;
  engine::PollAgreement agreement_;
};

}  // namespace lockstep::progress
