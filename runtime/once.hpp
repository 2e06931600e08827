// One member makes bytes, all get them: a section, and a stream behind it where they are many.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "runtime/group.hpp"

namespace lockstep {

/// Why there is nothing.
struct Failure {
  std::string type;  ///< for programs; may be empty
  std::string text;
};
/// Writes to the descriptor, or fails.
using Producer = std::function<std::optional<Failure>(int descriptor)>;
/// Called with pieces in order; not any more after it has failed.
using Consumer = std::function<Status(std::span<const std::byte> piece)>;

/// See lockstep_once().
Status once(Group& group, const Call& call, const SectionRules& rules, const Producer& produce,
            const Consumer& consume);

}  // namespace lockstep
