// Counting.
#include "runtime/trigger/tally.hpp"

#include <algorithm>
#include <tuple>

namespace lockstep::trigger {

bool comes_before(const Record& a, const Record& b) noexcept {
  const auto key = [](const Record& record) {
    const auto rank = std::int64_t{record.rank};
    return record.rules.order == Order::lowest_rank ? std::tuple(record.urgency, rank, record.time)
                                                    : std::tuple(record.urgency, record.time, rank);
  };
  return key(a) < key(b);
}

Tally::Tally(const Rules& rules, const Members& members)
    : rules_(rules), members_(&members), has_set_(members.count) {}

bool Tally::tell(const Record& record) {
  const bool is_only = setters_ == 0;
  if (!has_set_[record.rank]) {
    has_set_[record.rank] = true;
    ++setters_;
    const std::vector<Rank>& leaders = members_->node_leaders;
    if (std::binary_search(leaders.begin(), leaders.end(), record.rank)) ++leaders_;
  }
  value_ = is_only ? record.value : combined(rules_.combine, value_, record.value);
  if (is_only || comes_before(record, first_)) first_ = record;
  since_ = is_only ? record.time : std::min(since_, record.time);
  return is_due();
}

bool Tally::is_due() const noexcept {
  switch (rules_.policy) {
    case Policy::any:
      return setters_ > 0;
    case Policy::all:
      return setters_ == members_->count;
    case Policy::quorum:
      return setters_ >= rules_.quorum;
    case Policy::node_leaders:
      return leaders_ == members_->node_leaders.size();
  }
  return false;
}

}  // namespace lockstep::trigger
