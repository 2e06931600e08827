// A file saved by the main process, or one by every member, with the outcome told to all.
#pragma once

#include <functional>
#include <string>

#include "runtime/group.hpp"
#include "runtime/saving/part.hpp"

namespace lockstep {

struct SaveWishes {
  bool by_everyone = false;    ///< each its own file, with {rank} in the name
  bool tells_all = false;      ///< collective: the outcome is every member's
  bool is_everywhere = false;  ///< returns when every node sees it; tells all, too
  Group* readers = nullptr;    ///< whose first saves for them; NULL: the whole group
};

/// See lockstep_save_together().
Status save_together(Group& group, const Call& call, const std::string& path,
                     const SaveWishes& wishes, const saving::Writer& writer);

/// Returns on all members when every node of the group sees all files. Collective.
///
/// @param mine     What this member has saved; nothing: it has not.
/// @param path_of  The file of a member that has.
Status await_everywhere(Group& group, const Call& call, const std::optional<saving::Digest>& mine,
                        const std::function<std::string(Rank)>& path_of);

}  // namespace lockstep
