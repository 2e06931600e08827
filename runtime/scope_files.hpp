// Which members of a group see the same files at a path: facts first, then a probe decides.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/filesystem/grouping.hpp"
#include "runtime/group.hpp"

namespace lockstep {

/// What one group has found out so far. The same on all its members, but for what the hashes are
/// of.
class SameFiles {
 public:
  /// Collective. `path` is each member's own. One round if all ask for what is known; otherwise a
  /// few, and one name is made and removed in the folder of each file system.
  ///
  /// LOCKSTEP_E_IO, on all members: the path is there for some only, or somebody cannot look at it.
  Result<filesystem::Classes> find(Group& group, const Call& call, const std::string& path);

 private:
  class Search;

  std::vector<filesystem::Known> known_;  ///< the oldest first
  std::uint64_t probes_ = 0;
};

}  // namespace lockstep
