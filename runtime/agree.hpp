// How something went that every member did by itself: one outcome, told to all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/group.hpp"

namespace lockstep {

/// Ok if it went well everywhere; otherwise the status of the lowest member that failed, with its
/// rank and host in the text. Collective; waits for as long as members are alive, unless the call
/// has a time limit.
///
/// @param bits  In: this member's, 63 at most. Out: those of all members. May be NULL.
Status agree(Group& group, const Call& call, const Status& mine, std::uint64_t* bits = nullptr);

/// The call, for what may take as long as it takes.
Call patient(Call call);

/// Job rank and host of a member: "rank 3 on n1".
std::string member_name(Group& group, Rank member);

/// "rank 1 on n0, rank 4 on n1 and 2 more"; of at least one.
std::string member_names(Group& group, const std::vector<Rank>& members);

}  // namespace lockstep
