// Finding the newest checkpoint that is whole, and reading it back.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "runtime/group.hpp"
#include "runtime/saving/part.hpp"

namespace lockstep {

/// The newest checkpoint whose parts are what its manifest says; decided by rank 0, the hashes
/// checked by all, each its share, unless sizes are to do. Nothing: there is none. Collective.
Result<std::optional<saving::Manifest>> latest_checkpoint(Group& group, const Call& call,
                                                          const std::string& store,
                                                          bool sizes_only);

/// Takes what it wants of a part; false with errno set, or 0, to give up.
using Reader = std::function<bool(saving::PartReader& part)>;

/// One part, by this process alone.
Status read_part(const std::string& store, const saving::Manifest& manifest, std::uint32_t index,
                 const Reader& reader, const saving::Progress& progress);

/// Each member reads its share of the parts: its own in a group of the size that saved them. One
/// outcome for all. Collective.
Status load_checkpoint(Group& group, const Call& call, const std::string& store, std::uint64_t step,
                       const Reader& reader, const saving::Progress& progress);

}  // namespace lockstep
