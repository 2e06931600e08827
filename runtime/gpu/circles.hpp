// Who meets whom directly in a stream barrier, and who through their hosts. Pure.
#pragma once

#include <span>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/gpu/grouping.hpp"

namespace lockstep::gpu {

/// Members, numbers within their group, ascending; the lowest speaks for the others.
using Circle = std::vector<Rank>;

/// Those of one class on one node, LOCKSTEP_GPU_PEERS_MAX at most; in the order of their lowest.
/// @param alone  By member: not 0: its circle could not be closed, and each of it is one by itself.
std::vector<Circle> circles(std::span<const Seat> seats, const Classes& classes,
                            std::span<const std::uint8_t> alone);

}  // namespace lockstep::gpu
