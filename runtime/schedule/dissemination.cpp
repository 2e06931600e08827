// The n-way dissemination plan: nobody is special, every round multiplies what is known by radix.
#include <cassert>

#include "runtime/schedule/plan.hpp"

namespace lockstep::schedule {

Plan dissemination(NodeIndex self, const Shape& shape) {
  assert(self < shape.size && shape.radix >= 2);
  Plan plan;
  std::uint16_t round = 0;
  for (std::uint64_t reach = 1; reach < shape.size; reach *= shape.radix, ++round) {
    std::vector<NodeIndex> hops;
    for (std::uint64_t k = 1; k < shape.radix && k * reach < shape.size; ++k) {
      hops.push_back(static_cast<NodeIndex>(k * reach));
    }
    for (const NodeIndex hop : hops) {
      const auto to = static_cast<NodeIndex>((std::uint64_t{self} + hop) % shape.size);
      plan.push_back({to, round, StepKind::send});
    }
    for (const NodeIndex hop : hops) {
      const auto from =
          static_cast<NodeIndex>((std::uint64_t{self} + shape.size - hop) % shape.size);
      plan.push_back({from, round, StepKind::wait});
    }
  }
  return plan;
}

}  // namespace lockstep::schedule
