// At most k at a time: members do something in waves of k, in the order of their ranks.
#pragma once

#include <cstdint>

#include "runtime/group.hpp"

namespace lockstep {

/// See lockstep_at_most_begin() and _end(). A wave ends with a round, in which all members take
/// part and learn whether somebody of the wave has failed.
Status at_most_begin(Group& group, std::uint32_t k, const Call& call);
Status at_most_end(Group& group, const char* failure);

}  // namespace lockstep
