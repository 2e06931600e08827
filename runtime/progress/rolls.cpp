// Who is missing, as ranges of places.
#include "runtime/progress/rolls.hpp"

#include "runtime/engine/verdict.hpp"

namespace lockstep::progress {
namespace {

static_assert(node::kRollRanges * sizeof(RankRange) <= engine::kPayloadMax);

std::vector<std::uint32_t> begins(const std::vector<NodeIndex>& node_of, NodeIndex nodes) {
  std::vector<std::uint32_t> begin(nodes + 1, 0);
  for (const NodeIndex node : node_of) ++begin[node + 1];
  for (NodeIndex node = 0; node < nodes; ++node) begin[node + 1] += begin[node];
  return begin;
}

}  // namespace

std::vector<std::uint32_t> Rolls::places(const std::vector<NodeIndex>& node_of, NodeIndex nodes) {
  std::vector<std::uint32_t> next = begins(node_of, nodes);
  std::vector<std::uint32_t> places;
  places.reserve(node_of.size());
  for (const NodeIndex node : node_of) places.push_back(next[node]++);
  return places;
}

Rolls::Rolls(node::RollBoard& board, const engine::Agreement::Setup& setup,
             const engine::Outcomes& outcomes, IsGone is_gone)
    : board_(board),
      self_(setup.self),
      is_gone_(std::move(is_gone)),
      begins_(begins(outcomes.setup().node_of, setup.nodes)),
      presence_(outcomes),
      agreement_(setup, *this, presence_) {}

Rolls::Wish Rolls::wants() const {
  if (!board_.is_called_after(agreement())) return Wish::none;
  return board_.is_hurried(agreement() + 1) ? Wish::at_once : Wish::some;
}

std::optional<Rolls::Value> Rolls::hold(std::uint64_t number, bool at_once) {
  RankSet missing;
  for (std::uint32_t place = begins_[self_]; place < begins_[self_ + 1]; ++place) {
    const std::uint32_t member = place - begins_[self_];
    if (at_once || (!board_.is_decided(member, number) && is_gone_(member))) {
      board_.miss(member, number);
    }
    if (!board_.is_decided(member, number)) return std::nullopt;
    if (!board_.has_come(member, number)) missing.append(place);
  }
  return encode(missing);
}

void Rolls::commit(std::uint64_t number, const Value& missing) {
  board_.commit(number, decode(missing));
}

void Rolls::add(Value& missing, const Value& there) const {
  RankSet sum = decode(missing);
  sum.merge(decode(there));
  missing = encode(sum);
}

void Rolls::leave_out(Value& missing, NodeIndex node) const {
  RankSet sum = decode(missing);
  sum.merge(RankSet({{begins_[node], begins_[node + 1] - begins_[node]}}));
  missing = encode(sum);
}

/// Who was missing once is not asked for again.
Rolls::Value Rolls::conclude(Value missing) const {
  add(missing, agreed());
  return missing;
}

/// From a peer: what makes no sense is as if nobody had answered.
RankSet Rolls::decode(const Value& value) const {
  auto missing = engine::decode_ranges(value.bytes);
  const bool fits =
      missing && missing->end() <= begins_.back() && missing->ranges().size() <= node::kRollRanges;
  return fits ? std::move(*missing) : all();
}

/// What is too scattered to be told is "all", and those who are left say so.
Rolls::Value Rolls::encode(const RankSet& missing) const {
  const bool fits = missing.ranges().size() <= node::kRollRanges;
  bool is_cut = false;
  return {0, engine::encode_ranges(fits ? missing : all(), engine::kPayloadMax, is_cut)};
}

}  // namespace lockstep::progress
