// Coding of verdicts: for the wire between nodes and for the page within one.
#include "runtime/engine/verdict.hpp"

#include <algorithm>

namespace lockstep::engine {
namespace {

void put32(std::vector<std::byte>& bytes, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

std::uint32_t take32(std::span<const std::byte> bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= static_cast<std::uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

constexpr std::size_t kFixed = 24;  // cause, flags, epoch (2), bytes of ranges, bytes of text
constexpr std::size_t kRangesMax = 560;

}  // namespace

std::vector<std::byte> encode_ranges(const RankSet& ranks, std::size_t room_bytes,
                                     bool& truncated) {
  std::vector<std::byte> bytes;
  for (const RankRange& range : ranks.ranges()) {
    if (bytes.size() + sizeof(RankRange) > room_bytes) {
      truncated = true;
      break;
    }
    put32(bytes, range.first);
    put32(bytes, range.count);
  }
  return bytes;
}

std::optional<RankSet> decode_ranges(std::span<const std::byte> bytes) {
  if (bytes.size() % sizeof(RankRange) != 0) return std::nullopt;
  std::vector<RankRange> ranges;
  std::uint64_t end = 0;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(RankRange)) {
    const RankRange range{take32(bytes, at), take32(bytes, at + 4)};
    if (range.count == 0 || range.first < end) return std::nullopt;  // unsorted or overlapping
    end = std::uint64_t{range.first} + range.count;
    if (end > UINT32_MAX) return std::nullopt;
    ranges.push_back(range);
  }
  return RankSet(std::move(ranges));
}

std::vector<std::byte> encode_verdict(const Verdict& verdict) {
  bool truncated = verdict.is_truncated;
  const std::vector<std::byte> ranges = encode_ranges(verdict.missing, kRangesMax, truncated);
  const std::size_t text = std::min(verdict.text.size(), kVerdictMax - kFixed - ranges.size());
  std::vector<std::byte> bytes;
  bytes.reserve(kFixed + ranges.size() + text);
  put32(bytes, static_cast<std::uint32_t>(verdict.cause));
  put32(bytes, truncated ? 1 : 0);
  put32(bytes, static_cast<std::uint32_t>(verdict.epoch));
  put32(bytes, static_cast<std::uint32_t>(verdict.epoch >> 32));
  put32(bytes, static_cast<std::uint32_t>(ranges.size()));
  put32(bytes, static_cast<std::uint32_t>(text));
  bytes.insert(bytes.end(), ranges.begin(), ranges.end());
  for (std::size_t i = 0; i < text; ++i) bytes.push_back(static_cast<std::byte>(verdict.text[i]));
  return bytes;
}

std::optional<Verdict> decode_verdict(std::span<const std::byte> bytes) {
  if (bytes.size() < kFixed) return std::nullopt;
  const std::size_t ranges = take32(bytes, 16);
  const std::size_t text = take32(bytes, 20);
  if (ranges > kVerdictMax || text > kVerdictMax || bytes.size() < kFixed + ranges + text) {
    return std::nullopt;
  }
  Verdict verdict;
  const auto cause = static_cast<std::int32_t>(take32(bytes, 0));
  if (cause != LOCKSTEP_E_DEADLINE && cause != LOCKSTEP_E_MISMATCH && cause != LOCKSTEP_E_LOST) {
    return std::nullopt;
  }
  verdict.cause = static_cast<lockstep_status_t>(cause);
  verdict.is_truncated = take32(bytes, 4) != 0;
  verdict.epoch = take32(bytes, 8) | static_cast<Epoch>(take32(bytes, 12)) << 32;
  auto missing = decode_ranges(bytes.subspan(kFixed, ranges));
  if (!missing) return std::nullopt;
  verdict.missing = std::move(*missing);
  for (std::size_t i = 0; i < text; ++i) {
    verdict.text += static_cast<char>(bytes[kFixed + ranges + i]);
  }
  return verdict;
}

}  // namespace lockstep::engine
