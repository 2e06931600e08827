// Moving small data through rounds: every round ORs a vector, so bytes that only one member sets
// reach all members as they are.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/group.hpp"

namespace lockstep {

/// A stream of `total` bytes, the same length on every member; `mine` is this member's part of it,
/// at `offset`. Parts must not overlap. Collective.
Result<std::vector<std::byte>> share(Group& group, const Call& call, std::size_t total,
                                     std::size_t offset, std::span<const std::byte> mine);

/// Everybody's bytes, by group rank. Collective.
Result<std::vector<std::vector<std::byte>>> gather_all(Group& group, const Call& call,
                                                       std::span<const std::byte> mine);

/// The root's bytes. Collective.
Result<std::vector<std::byte>> broadcast(Group& group, const Call& call, Rank root,
                                         std::span<const std::byte> mine);

}  // namespace lockstep
