// A sorted set of ranks in ranges: how missing ranks are kept, sent and printed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"

namespace lockstep {

/// `count` ranks from `first` on. Two 32-bit numbers: also the form on the wire and in the page.
struct RankRange {
  std::uint32_t first;
  std::uint32_t count;
  bool operator==(const RankRange&) const = default;
};
static_assert(sizeof(RankRange) == 8);

class RankSet {
 public:
  RankSet() = default;
  explicit RankSet(std::vector<RankRange> sorted) : ranges_(std::move(sorted)) {}

  /// Precondition: ranks come in ascending order.
  void append(Rank rank);
  /// In any order; sorts and joins what touches.
  void merge(const RankSet& other);

  bool empty() const noexcept { return ranges_.empty(); }
  std::uint64_t size() const noexcept;
  /// One past the highest rank; 0 when empty.
  std::uint64_t end() const noexcept;
  const std::vector<RankRange>& ranges() const noexcept { return ranges_; }
  std::vector<Rank> list() const;
  std::string text() const;  ///< "0-3,7"

 private:
  std::vector<RankRange> ranges_;
};

}  // namespace lockstep
