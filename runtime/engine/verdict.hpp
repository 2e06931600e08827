// The result of a round that cannot finish: the cause, everybody missing, and what to tell people.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lockstep/error.h"
#include "runtime/base/ids.hpp"
#include "runtime/base/rank_set.hpp"

namespace lockstep::engine {

struct Verdict {
  lockstep_status_t cause = LOCKSTEP_OK;  ///< LOCKSTEP_E_DEADLINE, _MISMATCH or _LOST
  Epoch epoch = 0;
  RankSet missing;            ///< job ranks
  std::string text;           ///< sites of a mismatch, nodes that do not answer
  bool is_truncated = false;  ///< more ranks were missing than fit

  bool is_broken() const noexcept { return cause != LOCKSTEP_OK; }
};

/// Longest coded verdict in bytes; ranges and text beyond are cut, and the cut is marked.
inline constexpr std::size_t kVerdictMax = 1024;

std::vector<std::byte> encode_verdict(const Verdict& verdict);
std::optional<Verdict> decode_verdict(std::span<const std::byte> bytes);

/// Sorted ranges as bytes, at most `room` of them; used by answers and verdicts alike.
std::vector<std::byte> encode_ranges(const RankSet& ranks, std::size_t room_bytes, bool& truncated);
std::optional<RankSet> decode_ranges(std::span<const std::byte> bytes);

}  // namespace lockstep::engine
