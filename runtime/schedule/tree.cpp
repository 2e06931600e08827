// The tree plans: one message up and one down per edge; and no edge across a switch that need not
// be.
#include <algorithm>
#include <cassert>
#include <optional>

#include "runtime/schedule/plan.hpp"

namespace lockstep::schedule {
namespace {

/// One node's neighbours in the tree.
struct Family {
  std::vector<NodeIndex> children;
  std::optional<NodeIndex> parent;
};

/// Of the radix-ary tree over places 0 .. shape.size - 1.
Family family_at(NodeIndex place, const Shape& shape) {
  Family family;
  const std::uint64_t first = std::uint64_t{place} * shape.radix + 1;
  const std::uint64_t last = std::min<std::uint64_t>(first + shape.radix, shape.size);
  for (std::uint64_t child = first; child < last; ++child) {
    family.children.push_back(static_cast<NodeIndex>(child));
  }
  if (place != 0) family.parent = (place - 1) / shape.radix;
  return family;
}

Plan plan_of(const Family& family) {
  constexpr std::uint16_t kUp = 0;
  constexpr std::uint16_t kDown = 1;
  Plan plan;
  for (const NodeIndex child : family.children) plan.push_back({child, kUp, StepKind::wait});
  if (family.parent) {
    plan.push_back({*family.parent, kUp, StepKind::send});
    plan.push_back({*family.parent, kDown, StepKind::wait});
  }
  for (const NodeIndex child : family.children) plan.push_back({child, kDown, StepKind::send});
  return plan;
}

/// Who speaks for each of the tiers just below self's tier of that level: the lowest node of each;
/// below a leaf switch, each node for itself.
std::vector<NodeIndex> speakers(const topology::Tiers& tiers, NodeIndex self, std::size_t level) {
  std::vector<NodeIndex> found;
  std::vector<bool> has_spoken;
  for (NodeIndex node = 0; node < tiers.size(); ++node) {
    if (tiers.tier(node, level) != tiers.tier(self, level)) continue;
    if (level < tiers.depth()) {
      const std::uint32_t below = tiers.tier(node, level + 1);
      if (below >= has_spoken.size()) has_spoken.resize(below + 1, false);
      if (has_spoken[below]) continue;
      has_spoken[below] = true;
    }
    found.push_back(node);
  }
  return found;
}

}  // namespace

Plan tree(NodeIndex self, const Shape& shape) {
  assert(self < shape.size && shape.radix >= 2);
  return plan_of(family_at(self, shape));
}

Plan switch_tree(NodeIndex self, const topology::Tiers& tiers, std::uint32_t radix) {
  assert(self < tiers.size() && radix >= 2);
  Family family;
  // From the leaf switch outwards, as long as this node speaks for what is below.
  for (std::size_t level = tiers.depth() + 1; level-- > 0 && !family.parent;) {
    const std::vector<NodeIndex> members = speakers(tiers, self, level);
    const auto place = std::lower_bound(members.begin(), members.end(), self) - members.begin();
    const Family here = family_at(static_cast<NodeIndex>(place),
                                  {static_cast<std::uint32_t>(members.size()), radix});
    // Farther ones first: on the way down, what has the longest way to go must not wait for the
    // rest.
    std::vector<NodeIndex> children;
    for (const NodeIndex child : here.children) children.push_back(members[child]);
    family.children.insert(family.children.begin(), children.begin(), children.end());
    if (here.parent) family.parent = members[*here.parent];
  }
  return plan_of(family);
}

}  // namespace lockstep::schedule
