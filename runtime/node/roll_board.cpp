// Marks are decided once; what is agreed between nodes is kept by parity of its number, since who
// reads it may be one roll call behind.
#include "runtime/node/roll_board.hpp"

#include <algorithm>

#include "runtime/node/wait.hpp"

namespace lockstep::node {

bool RollBoard::decide(std::uint32_t member, std::uint64_t number, std::uint64_t mark) noexcept {
  std::uint64_t seen = marks_[member].load();
  while (!settles(seen, number)) {
    if (!marks_[member].compare_exchange_weak(seen, mark)) continue;
    ring(common_.bell);
    return true;
  }
  return false;
}

bool RollBoard::come(std::uint64_t number) noexcept {
  return decide(self_, number, here(number)) || has_come(self_, number);
}

void RollBoard::miss(std::uint32_t member, std::uint64_t number) noexcept {
  decide(member, number, here(number) | kMissing);
}

void RollBoard::hurry(std::uint64_t number) noexcept {
  std::uint64_t seen = common_.hurried.load();
  while (seen < number && !common_.hurried.compare_exchange_weak(seen, number)) {
  }
}

bool RollBoard::is_complete(std::uint64_t number) const noexcept {
  return std::all_of(marks_.begin(), marks_.end(),
                     [number](const auto& mark) { return settles(mark.load(), number); });
}

bool RollBoard::is_called_after(std::uint64_t number) const noexcept {
  return std::any_of(marks_.begin(), marks_.end(), [number](const auto& mark) {
    const std::uint64_t seen = mark.load();
    return (seen & kMissing) == 0 && seen > here(number);
  });
}

std::optional<std::uint32_t> RollBoard::heir(std::uint64_t number) const noexcept {
  const std::uint64_t word = common_.heir.load();
  if (word >> 32 != number) return std::nullopt;
  return static_cast<std::uint32_t>(word);
}

bool RollBoard::offer_heir(std::uint64_t number, std::uint32_t block) noexcept {
  std::uint64_t seen = common_.heir.load();
  while (seen >> 32 < number) {
    if (!common_.heir.compare_exchange_weak(seen, number << 32 | block)) continue;
    ring(common_.bell);
    return true;
  }
  return false;
}

RankSet RollBoard::missing() const {
  const std::uint64_t parity = agreement() % 2;
  const std::uint64_t count = std::min<std::uint64_t>(common_.count[parity].load(), kRollRanges);
  std::vector<RankRange> ranges;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t range = common_.missing[parity][i].load(std::memory_order_relaxed);
    ranges.push_back({static_cast<std::uint32_t>(range >> 32), static_cast<std::uint32_t>(range)});
  }
  return RankSet(std::move(ranges));
}

void RollBoard::commit(std::uint64_t agreement, const RankSet& missing) noexcept {
  const std::uint64_t parity = agreement % 2;
  std::uint64_t count = 0;
  for (const RankRange& range : missing.ranges()) {
    common_.missing[parity][count++].store(std::uint64_t{range.first} << 32 | range.count,
                                           std::memory_order_relaxed);
  }
  common_.count[parity].store(count);
  common_.agreement.store(agreement);
  ring(common_.bell);
}

}  // namespace lockstep::node
