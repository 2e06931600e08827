// Who of a group's members on this node answers when the roll is called.
//
// A member that comes marks itself; one that is gone, or not waited for any more, is marked as
// missing by whoever notices, and stays so. One compare-and-swap decides which of the two it is:
// all who look at the marks of a roll call see the same. In a group on one node that is who is
// left. Between nodes the speakers put what is missing together (docs/decisions/0019).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "runtime/base/rank_set.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

class RollBoard {
 public:
  RollBoard(RollState& common, std::span<std::atomic<std::uint64_t>> marks,
            std::uint32_t self) noexcept
      : common_(common), marks_(marks), self_(self) {}

  // Roll calls of a group are numbered from 1.
  /// This member is here. False: it is too late for that.
  bool come(std::uint64_t number) noexcept;
  /// A member does not count, unless it has come.
  void miss(std::uint32_t member, std::uint64_t number) noexcept;
  /// From now on nobody waits for members that have not come.
  void hurry(std::uint64_t number) noexcept;
  bool is_hurried(std::uint64_t number) const noexcept { return common_.hurried.load() >= number; }
  bool has_come(std::uint32_t member, std::uint64_t number) const noexcept {
    return marks_[member].load() == here(number);
  }
  bool is_decided(std::uint32_t member, std::uint64_t number) const noexcept {
    return settles(marks_[member].load(), number);
  }
  /// All members here are decided.
  bool is_complete(std::uint64_t number) const noexcept;
  /// Has anybody come to a later roll call than this one?
  bool is_called_after(std::uint64_t number) const noexcept;
  Bell& bell() noexcept { return common_.bell; }

  /// The block of the group of those who are left, which one of them claims: 0 until then.
  std::optional<std::uint32_t> heir(std::uint64_t number) const noexcept;
  /// False: somebody else was quicker.
  bool offer_heir(std::uint64_t number, std::uint32_t block) noexcept;

  // -- what the node's speaker leaves to who comes after it
  std::uint64_t agreement() const noexcept { return common_.agreement.load(); }
  /// What was committed last: the places of those who are missing.
  RankSet missing() const;
  std::uint64_t promise() const noexcept { return common_.promise.load(); }
  void promise(std::uint64_t ballot) noexcept { common_.promise.store(ballot); }
  /// Precondition: at most kRollRanges ranges.
  void commit(std::uint64_t agreement, const RankSet& missing) noexcept;

 private:
  static constexpr std::uint64_t kMissing = 1;  ///< beside the number, and for good
  static constexpr std::uint64_t here(std::uint64_t number) noexcept { return number << 1; }
  static bool settles(std::uint64_t mark, std::uint64_t number) noexcept {
    return (mark & kMissing) != 0 || mark >= here(number);
  }
  /// False: that is decided already.
  bool decide(std::uint32_t member, std::uint64_t number, std::uint64_t mark) noexcept;

  RollState& common_;
  std::span<std::atomic<std::uint64_t>> marks_;  ///< of the group's members here
  std::uint32_t self_;
};

}  // namespace lockstep::node
