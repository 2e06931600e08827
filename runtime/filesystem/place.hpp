// What this process finds at a path: the nearest folder that is there, and facts to compare.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/filesystem/grouping.hpp"

namespace lockstep::filesystem {

struct Place {
  UniqueFd folder;   ///< only a place (O_PATH): it may be neither readable nor writable
  std::string path;  ///< the folder's, without links
  std::string type;  ///< of its file system; empty: not known
  Facts facts;
};

/// Looks at a path, which need not be there: then at the nearest folder above it. A file counts as
/// not there below its folder, so that it makes no difference whether somebody has written it yet.
/// LOCKSTEP_E_IO: it cannot be looked at, or is a link to nothing.
Result<Place> look_at(const std::string& path);

}  // namespace lockstep::filesystem
