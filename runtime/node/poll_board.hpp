// Where the members of a group on this node are in their polls, and where all of them meet.
//
// While nothing is set, a poll is one store to the member's own line and one load of the common
// state. Somebody who has set something wants a meeting. Then the state is held, so that whoever
// enters a poll waits there; the polls that were entered are read; and all meet in the one after
// the furthest. A member stores its number before it loads the state, a holder changes the state
// before it reads the numbers: either the member waits, or its number is counted
// (docs/decisions/0014).
#pragma once

#include <cstdint>
#include <span>

#include "runtime/node/asymmetric_fence.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

class PollBoard {
 public:
  enum class Phase { quiet, wanted, held, fires };
  struct View {
    Phase phase = Phase::quiet;
    bool is_wanted = false;       ///< also beside the other phases
    std::uint64_t agreement = 0;  ///< held: for which
    std::uint32_t holder = 0;     ///< held: by which member
    std::uint64_t fire = 0;       ///< fires: the poll in which all meet
  };

  PollBoard(PollState& common, std::span<PollLine> lines, std::uint32_t self) noexcept
      : common_(common), entered_(lines[self].entered), lines_(lines), self_(self) {}

  /// What all members of the node have agreed on; before the first poll.
  void fence_with(const AsymmetricFence& fence) noexcept { fence_ = fence; }

  // -- a member
  /// Enters this member's next poll. False: there is something to look at, or it is the first.
  bool enter() noexcept {
    entered_.store(++number_, std::memory_order_relaxed);
    fence_.light();
    return common_.state.load(std::memory_order_relaxed) == 0 && number_ != 1;
  }
  std::uint64_t number() const noexcept { return number_; }
  View look() const noexcept;
  /// Something is to be told to all. Safe in a signal handler.
  void want() noexcept;
  /// Rings when something is wanted.
  Bell& call() noexcept { return common_.call; }
  /// All have met in poll `fire`. What was wanted since then stands.
  void finish(std::uint64_t fire) noexcept;
  Bell& bell() noexcept { return common_.bell; }
  /// From now on nobody's poll is quick: the group is broken, or it has whole rounds only.
  void alert() noexcept;

  // -- who finds out where to meet
  /// On one node: holds what is wanted, or takes the hold of a dead member over. False: somebody
  /// else was quicker.
  bool try_hold(const View& seen) noexcept;
  /// The node's speaker, for this agreement.
  void hold(std::uint64_t agreement) noexcept;
  /// The furthest poll that anybody here has entered. Precondition: held.
  std::uint64_t furthest() const noexcept;
  /// False: this member does not hold it any more.
  bool fire(std::uint64_t number) noexcept;
  bool has_pollers() const noexcept;
  std::uint64_t entered(std::uint32_t member) const noexcept {
    return lines_[member].entered.load(std::memory_order_relaxed);
  }

  // -- what the node's speaker leaves to who comes after it
  std::uint64_t agreement() const noexcept { return common_.agreement.load(); }
  std::uint64_t agreed_fire() const noexcept { return common_.fire[agreement() % 2].load(); }
  std::uint64_t promise() const noexcept { return common_.promise.load(); }
  void promise(std::uint64_t ballot) noexcept { common_.promise.store(ballot); }
  void commit(std::uint64_t agreement, std::uint64_t number) noexcept;
  /// A speaker may die between the two halves of commit().
  void repair() noexcept;

 private:
  static constexpr std::uint64_t kWanted = 1;
  static constexpr std::uint64_t kHeld = 2;
  static constexpr std::uint64_t kFires = 4;
  static constexpr std::uint64_t kAlert = 8;
  static constexpr unsigned kValueShift = 4;
  static constexpr unsigned kHolderBits = 12;
  static_assert(kMembersMax == 1u << kHolderBits);

  static constexpr std::uint64_t kStands = kWanted | kAlert;  ///< beside every phase

  /// What `state` becomes.
  std::uint64_t held_by_me(std::uint64_t agreement, std::uint64_t state) const noexcept;
  static std::uint64_t firing(std::uint64_t number, std::uint64_t state) noexcept {
    return kFires | number << kValueShift | (state & kStands);
  }
  static View read(std::uint64_t state) noexcept;
  void set_fire(std::uint64_t number) noexcept;

  PollState& common_;
  std::atomic<std::uint64_t>& entered_;  ///< this member's
  std::uint64_t number_ = 0;
  AsymmetricFence fence_;
  std::span<PollLine> lines_;
  std::uint32_t self_;
};

}  // namespace lockstep::node
