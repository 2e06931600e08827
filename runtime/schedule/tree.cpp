// The tree plan: one message up and one down per edge.
#include <algorithm>
#include <cassert>

#include "runtime/schedule/plan.hpp"

namespace lockstep::schedule {

Plan tree(NodeIndex self, const Shape& shape) {
  assert(self < shape.size && shape.radix >= 2);
  constexpr std::uint16_t kUp = 0;
  constexpr std::uint16_t kDown = 1;
  const std::uint64_t first = std::uint64_t{self} * shape.radix + 1;
  const std::uint64_t last = std::min<std::uint64_t>(first + shape.radix, shape.size);

  Plan plan;
  for (std::uint64_t child = first; child < last; ++child) {
    plan.push_back({static_cast<NodeIndex>(child), kUp, StepKind::wait});
  }
  if (self != 0) {
    const NodeIndex parent = (self - 1) / shape.radix;
    plan.push_back({parent, kUp, StepKind::send});
    plan.push_back({parent, kDown, StepKind::wait});
  }
  for (std::uint64_t child = first; child < last; ++child) {
    plan.push_back({static_cast<NodeIndex>(child), kDown, StepKind::send});
  }
  return plan;
}

}  // namespace lockstep::schedule
