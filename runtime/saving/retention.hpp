// Which checkpoints may go.
#pragma once

#include <cstdint>
#include <vector>

namespace lockstep::saving {

struct Retention {
  std::uint64_t last = 0;   ///< keep so many of the highest steps; 0: all
  std::uint64_t every = 0;  ///< keep the steps that are multiples of this, too; 0: none
};

/// The steps that are not to be kept, in the order of removal: ascending. `newest` was saved just
/// now and is kept whatever its number.
std::vector<std::uint64_t> surplus(std::vector<std::uint64_t> steps, std::uint64_t newest,
                                   const Retention& retention);

}  // namespace lockstep::saving
