// Plans: what one node's leader sends and waits for in a round between nodes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/topology/switches.hpp"

namespace lockstep::schedule {

enum class StepKind : std::uint8_t { send, wait };

/// One send or wait. Both ends give a message the same round number, which is how they meet.
struct Step {
  NodeIndex peer;
  std::uint16_t round;
  StepKind kind;
  std::uint8_t reserved = 0;
  bool operator==(const Step&) const = default;
};
static_assert(sizeof(Step) == 8);

/// Executed in order: a send goes out once every wait before it is satisfied.
using Plan = std::vector<Step>;

struct Shape {
  std::uint32_t size;   ///< nodes
  std::uint32_t radix;  ///< at least 2
};

/// Up a radix-ary tree to node 0 and down again: 2(size-1) messages in all, the fewest possible.
Plan tree(NodeIndex self, const Shape& shape);

/// The same number of messages, of which as few as possible cross a switch: the nodes of each tier
/// form a tree of their own, whose root alone talks to the outside. Between s switches 2(s-1) do.
Plan switch_tree(NodeIndex self, const topology::Tiers& tiers, std::uint32_t radix);

/// After round r every node has heard from radix^(r+1) nodes: ceil(log_radix size) rounds, the
/// fewest possible, for size * sum(radix-1) messages.
Plan dissemination(NodeIndex self, const Shape& shape);

/// Runs the plans of all nodes against each other. Returns what is wrong, or an empty text if every
/// send has its wait, nobody blocks, and everybody has heard of everybody before it ends.
std::string verify(const std::vector<Plan>& plans);

}  // namespace lockstep::schedule
