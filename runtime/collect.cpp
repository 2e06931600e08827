// share, gather_all and broadcast by OR-combining vectors, about 1 KiB per round.
#include "runtime/collect.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "lockstep/lockstep.h"

namespace lockstep {
namespace {

constexpr std::size_t kWindow = LOCKSTEP_VECTOR_MAX;

Status too_long(const Call& call, std::uint64_t length) {
  return {LOCKSTEP_E_LIMIT,
          fmt::format("{}: {} bytes are more than the {} that travel this way; put "
                      "them into a file and send its path",
                      call.text(), length, LOCKSTEP_BYTES_MAX)};
}

/// What a member brings for the root that it names. Members' words are ORed: a bit in which two
/// roots differ is then set in both halves, so that every member sees that somebody disagrees.
std::uint64_t vote(Rank root) {
  return std::uint64_t{root} | std::uint64_t{~root} << 32;
}

}  // namespace

Result<std::vector<std::byte>> share(Group& group, const Call& call, std::size_t total,
                                     std::size_t offset, std::span<const std::byte> mine) {
  std::vector<std::byte> all(total);
  std::array<std::byte, kWindow> window;
  for (std::size_t at = 0; at < total; at += kWindow) {
    const std::size_t length = std::min(kWindow, total - at);
    window.fill(std::byte{0});
    const std::size_t from = std::max(at, offset);
    const std::size_t to = std::min(at + length, offset + mine.size());
    if (from < to)
      std::memcpy(window.data() + (from - at), mine.data() + (from - offset), to - from);
    node::Words result;
    const Status status = group.round(call, {0, std::span(window).first(length)}, &result);
    if (!status.ok()) return status;
    std::memcpy(all.data() + at, result.vector.data(), length);
  }
  return all;
}

Result<std::vector<std::vector<std::byte>>> gather_all(Group& group, const Call& call,
                                                       std::span<const std::byte> mine) {
  const std::uint64_t length = mine.size();
  const std::size_t count = group.size();
  const Result<std::vector<std::uint64_t>> lengths = share_each(group, call, length);
  if (!lengths.ok()) return lengths.status();
  const std::vector<std::uint64_t>& sizes = lengths.value();
  std::size_t total = 0;
  std::size_t offset = 0;
  for (Rank rank = 0; rank < count; ++rank) {
    // Every member sees the same lengths, so every member fails alike.
    if (sizes[rank] > LOCKSTEP_BYTES_MAX - total) return too_long(call, total + sizes[rank]);
    if (rank == group.rank()) offset = total;
    total += sizes[rank];
  }
  Result<std::vector<std::byte>> stream = share(group, call, total, offset, mine);
  if (!stream.ok()) return stream.status();
  std::vector<std::vector<std::byte>> parts(count);
  auto at = stream->begin();
  for (Rank rank = 0; rank < count; ++rank) {
    const auto end = at + static_cast<std::ptrdiff_t>(sizes[rank]);
    parts[rank].assign(at, end);
    at = end;
  }
  return parts;
}

unsigned digits_for(std::uint64_t most) {
  return (static_cast<unsigned>(std::bit_width(most)) + kDigitBits - 1) / kDigitBits;
}

// Rounds can only OR: so digit by digit, the most significant first, and whoever has a higher one
// is out.
Result<std::uint64_t> least(Group& group, const Call& call, std::optional<std::uint64_t> mine,
                            unsigned digits) {
  std::uint64_t found = 0;
  for (unsigned left = digits; left-- > 0;) {
    constexpr std::uint64_t kDigitMask = (1u << kDigitBits) - 1;
    const std::uint64_t digit = mine ? (*mine >> (left * kDigitBits)) & kDigitMask : 0;
    node::Words all;
    const node::Words own{mine ? std::uint64_t{1} << digit : 0, {}};
    if (Status status = group.round(call, own, &all); !status.ok()) return status;
    const auto lowest = static_cast<std::uint64_t>(std::countr_zero(all.word));
    found = found << kDigitBits | lowest;
    if (digit != lowest) mine.reset();
  }
  return found;
}

Result<Rank> lowest(Group& group, const Call& call, bool is_one) {
  const auto mine = is_one ? std::optional<std::uint64_t>(group.rank()) : std::nullopt;
  Result<std::uint64_t> found =
      least(group, call, mine, std::max(digits_for(group.size() - 1), 1u));
  if (!found.ok()) return found.status();
  return static_cast<Rank>(*found);
}

Result<std::vector<std::byte>> broadcast(Group& group, const Call& call, Rank root,
                                         std::span<const std::byte> mine) {
  const bool is_root = group.rank() == root;
  // The first window carries the length and as much as fits beside it: most strings need no second.
  constexpr std::size_t kFirst = kWindow - sizeof(std::uint64_t);
  std::array<std::byte, kWindow> window{};
  if (is_root) {
    const std::uint64_t length = mine.size();
    std::memcpy(window.data(), &length, sizeof length);
    if (!mine.empty()) {
      std::memcpy(window.data() + sizeof length, mine.data(), std::min(kFirst, mine.size()));
    }
  }
  node::Words result;
  if (Status status = group.round(call, {vote(root), window}, &result); !status.ok()) return status;
  if (result.word != vote(root)) {
    return Status(LOCKSTEP_E_INVALID,
                  fmt::format("{}: members name different roots, this one rank {} of the group; "
                              "pass the same root everywhere",
                              call.text(), root));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, result.vector.data(), sizeof length);
  if (length > LOCKSTEP_BYTES_MAX) return too_long(call, length);
  const std::size_t first = std::min<std::size_t>(kFirst, length);
  std::vector<std::byte> bytes(length);
  if (first > 0) std::memcpy(bytes.data(), result.vector.data() + sizeof length, first);
  if (length == first) return bytes;
  Result<std::vector<std::byte>> rest = share(
      group, call, length - first, 0, is_root ? mine.subspan(first) : std::span<const std::byte>());
  if (!rest.ok()) return rest.status();
  std::memcpy(bytes.data() + first, rest->data(), rest->size());
  return bytes;
}

}  // namespace lockstep
