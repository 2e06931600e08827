// Names for the numbers that identify ranks, nodes, groups and rounds.
#pragma once

#include <cstdint>

namespace lockstep {

using Rank = std::uint32_t;       ///< a process in the job, or in the group where it says so
using NodeIndex = std::uint32_t;  ///< a node of the job, or of the group where it says so
using Epoch = std::uint64_t;      ///< number of a round of one group; the first is 1
using GroupId = std::uint64_t;    ///< the same number on every member

inline constexpr Rank kNoRank = UINT32_MAX;

}  // namespace lockstep
