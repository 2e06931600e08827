// How a section ended, as a record: for the wire between nodes and for the page within one. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/ids.hpp"

namespace lockstep::engine {

enum class OutcomeKind : char {
  ok = 'k',
  failed = 'f',
  dead = 'd',  ///< who went first is gone, and nobody knows how its section ended
};

struct Outcome {
  OutcomeKind kind = OutcomeKind::ok;
  std::uint32_t signature = 0;  ///< of the call of whoever went first
  Rank first = 0;               ///< who went first, as a job rank
  bool is_final = true;         ///< false: the next rank of the group tries
  std::string site;             ///< that call in words
  std::string type;             ///< of the failure, e.g. an exception's
  std::string text;             ///< of the failure
};

inline constexpr std::size_t kOutcomeTypeMax = 64;   ///< bytes; what is longer is cut
inline constexpr std::size_t kOutcomeTextMax = 700;  ///< bytes
/// Longest record in bytes.
inline constexpr std::size_t kOutcomeRecordMax = 1000;

std::string encode_outcome(const Outcome& outcome);
/// Nothing if the bytes are no record.
std::optional<Outcome> decode_outcome(std::string_view record);

}  // namespace lockstep::engine
