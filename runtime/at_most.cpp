// Wave after wave: member i is in wave i / k.
#include "runtime/at_most.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/agree.hpp"

namespace lockstep {
namespace {

/// What a member brings for the k that it names: of two that differ, ORed, all see that.
constexpr std::uint32_t kBits = 31;
std::uint64_t vote(std::uint32_t k) {
  constexpr std::uint64_t kMask = (std::uint64_t{1} << kBits) - 1;
  return (k & kMask) | (~std::uint64_t{k} & kMask) << kBits;
}

Status end_wave(Group& group, const Call& call, std::uint32_t k, const Status& mine) {
  std::uint64_t bits = vote(k);
  if (Status status = agree(group, call, mine, &bits); !status.ok()) return status;
  if (bits == vote(k)) return {};
  return {LOCKSTEP_E_INVALID,
          fmt::format("{}: members name different numbers, this one {}; pass the same everywhere",
                      call.text(), k)};
}

}  // namespace

Status at_most_begin(Group& group, std::uint32_t k, const Call& call) {
  if (group.waves()) {
    return {LOCKSTEP_E_STATE,
            fmt::format("{}: this process is in an at_most of this group already", call.text())};
  }
  k = std::min(k, group.size());  // more than all is all
  for (std::uint32_t wave = 0; wave < group.rank() / k; ++wave) {
    if (Status status = end_wave(group, call, k, {}); !status.ok()) return status;
  }
  group.waves().emplace(Group::Waves{k, call, std::nullopt});
  if (call.name != nullptr) group.waves()->name = call.name;
  return {};
}

Status at_most_end(Group& group, const char* failure) {
  if (!group.waves()) {
    return {LOCKSTEP_E_STATE, "at_most_end without at_most_begin on this group"};
  }
  const Group::Waves open = std::move(*group.waves());
  group.waves().reset();
  Call call = open.call;
  call.name = open.name ? open.name->c_str() : nullptr;
  const std::uint32_t waves = (group.size() + open.width - 1) / open.width;
  Status mine = failure == nullptr ? Status{} : Status(LOCKSTEP_E_FIRST_FAILED, failure);
  for (std::uint32_t wave = group.rank() / open.width; wave < waves; ++wave) {
    if (Status status = end_wave(group, call, open.width, mine); !status.ok()) return status;
    mine = {};
  }
  return {};
}

}  // namespace lockstep
