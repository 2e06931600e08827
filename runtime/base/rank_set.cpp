// RankSet: joins neighbours, so that a missing node is one range and not a list.
#include "runtime/base/rank_set.hpp"

#include <algorithm>

namespace lockstep {

void RankSet::append(Rank rank) {
  if (!ranges_.empty() && ranges_.back().first + ranges_.back().count == rank) {
    ++ranges_.back().count;
  } else {
    ranges_.push_back({rank, 1});
  }
}

void RankSet::merge(const RankSet& other) {
  std::vector<RankRange> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  std::sort(all.begin(), all.end(),
            [](const RankRange& a, const RankRange& b) { return a.first < b.first; });
  ranges_.clear();
  for (const RankRange& range : all) {
    if (range.count == 0) continue;
    if (!ranges_.empty() && range.first <= ranges_.back().first + ranges_.back().count) {
      RankRange& last = ranges_.back();
      last.count = std::max(last.first + last.count, range.first + range.count) - last.first;
    } else {
      ranges_.push_back(range);
    }
  }
}

std::uint64_t RankSet::size() const noexcept {
  std::uint64_t sum = 0;
  for (const RankRange& range : ranges_) sum += range.count;
  return sum;
}

std::uint64_t RankSet::end() const noexcept {
  return ranges_.empty() ? 0 : std::uint64_t{ranges_.back().first} + ranges_.back().count;
}

std::vector<Rank> RankSet::list() const {
  std::vector<Rank> ranks;
  for (const RankRange& range : ranges_) {
    for (std::uint32_t i = 0; i < range.count; ++i) ranks.push_back(range.first + i);
  }
  return ranks;
}

std::string RankSet::text() const {
  std::string text;
  for (const RankRange& range : ranges_) {
    if (!text.empty()) text += ',';
    text += std::to_string(range.first);
    if (range.count > 1) text += '-' + std::to_string(range.first + range.count - 1);
  }
  return text;
}

}  // namespace lockstep
