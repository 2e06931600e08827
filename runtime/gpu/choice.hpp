// Which of the GPUs that a process sees is this rank's. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/gpu/device.hpp"

namespace lockstep::gpu {

/// What has decided.
enum class Rule : std::uint8_t { setting, context, only_one, local_rank };

struct Choice {
  std::uint32_t ordinal;
  Rule rule;
};

/// What there is to choose by.
struct Options {
  std::string_view setting;              ///< LOCKSTEP_GPU; not "none"
  std::span<const Device> devices;       ///< that this process sees; at least one
  std::optional<std::uint32_t> current;  ///< ordinal of the thread's current context's
  std::uint32_t local_rank;
};

/// The first rule that applies: the setting, the current context, the only GPU, and else the local
/// rank modulo how many there are. LOCKSTEP_E_INVALID: the setting names none of them.
Result<Choice> choose(const Options& options);

/// Whether a value of LOCKSTEP_GPU says that this rank has none.
bool is_none(std::string_view setting);

/// "by LOCKSTEP_GPU", "the current context's", ...
const char* rule_text(Rule rule);

}  // namespace lockstep::gpu
