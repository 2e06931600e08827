// Numbers of groups that are made of others: equal on all members, without a word between them.
#pragma once

#include <cstdint>

#include "runtime/base/hash.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/node/page.hpp"

namespace lockstep {

/// @param number  Of the call among those of the parent.
/// @param colour  LOCKSTEP_NO_GROUP, which no split has: of those who are left in a roll call.
inline GroupId child_id(GroupId parent, std::uint64_t number, std::uint32_t colour) {
  constexpr GroupId kReserved = 16;  // the job, the node, and room
  const GroupId id = mix(mix(mix(parent) ^ number) ^ colour);
  return id < kReserved || id == node::kClaimed ? id ^ (GroupId{1} << 40) : id;
}

}  // namespace lockstep
