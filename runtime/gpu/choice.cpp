// Four rules, the user's word first.
#include "runtime/gpu/choice.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lockstep::gpu {
namespace {

constexpr std::string_view kAutomatic = "auto";

Status misnamed(const Options& options, std::string_view why) {
  return {LOCKSTEP_E_INVALID, fmt::format("LOCKSTEP_GPU={} {}", options.setting, why)};
}

Result<Choice> by_setting(const Options& options) {
  const std::string_view text = options.setting;
  if (const auto named = parse_uuid(text)) {
    const auto found =
        std::find_if(options.devices.begin(), options.devices.end(),
                     [&](const Device& device) { return device.uuid == named->uuid; });
    if (found == options.devices.end()) {
      return misnamed(options,
                      "is not among the GPUs that this process sees; look with lockstep info, and "
                      "at CUDA_VISIBLE_DEVICES");
    }
    return Choice{static_cast<std::uint32_t>(found - options.devices.begin()), Rule::setting};
  }
  std::uint32_t ordinal = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ordinal);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
    return misnamed(options,
                    "is not understood: expected auto, none, an ordinal, or a UUID as nvidia-smi "
                    "-L shows it");
  }
  if (error != std::errc() || ordinal >= options.devices.size()) {
    return misnamed(options,
                    fmt::format("is too much: this process sees {} GPU{}, counted from 0 after "
                                "CUDA_VISIBLE_DEVICES",
                                options.devices.size(), options.devices.size() == 1 ? "" : "s"));
  }
  return Choice{ordinal, Rule::setting};
}

}  // namespace

Result<Choice> choose(const Options& options) {
  if (options.setting != kAutomatic) return by_setting(options);
  if (options.current && *options.current < options.devices.size()) {
    return Choice{*options.current, Rule::context};
  }
  if (options.devices.size() == 1) return Choice{0, Rule::only_one};
  const auto count = static_cast<std::uint32_t>(options.devices.size());
  return Choice{options.local_rank % count, Rule::local_rank};
}

bool is_none(std::string_view setting) {
  return setting == "none";
}

const char* rule_text(Rule rule) {
  switch (rule) {
    case Rule::setting:
      return "by LOCKSTEP_GPU";
    case Rule::context:
      return "its current context's";
    case Rule::only_one:
      return "the only one that it sees";
    default:
      return "by its local rank";
  }
}

}  // namespace lockstep::gpu
