// Moving small data through rounds: every round ORs a vector, so bytes that only one member sets
// reach all members as they are.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "runtime/group.hpp"

namespace lockstep {

/// A stream of `total` bytes, the same length on every member; `mine` is this member's part of it,
/// at `offset`. Parts must not overlap. Collective.
Result<std::vector<std::byte>> share(Group& group, const Call& call, std::size_t total,
                                     std::size_t offset, std::span<const std::byte> mine);

/// Everybody's value, by group rank. Collective.
template <class T>
requires std::is_trivially_copyable_v<T> Result<std::vector<T>> share_each(Group& group,
                                                                           const Call& call,
                                                                           const T& mine) {
  Result<std::vector<std::byte>> bytes =
      share(group, call, group.size() * sizeof mine, group.rank() * sizeof mine,
            std::as_bytes(std::span(&mine, 1)));
  if (!bytes.ok()) return bytes.status();
  std::vector<T> all(group.size());
  std::memcpy(all.data(), bytes->data(), bytes->size());
  return all;
}

/// Everybody's bytes, by group rank. Collective.
Result<std::vector<std::vector<std::byte>>> gather_all(Group& group, const Call& call,
                                                       std::span<const std::byte> mine);

constexpr unsigned kDigitBits = 6;  ///< a digit is one of the 64 bits of a round's word

/// Digits that hold all numbers up to `most`.
unsigned digits_for(std::uint64_t most);

/// The least of the members' numbers of that many digits, of which there must be at least one: one
/// round a digit. Collective.
Result<std::uint64_t> least(Group& group, const Call& call, std::optional<std::uint64_t> mine,
                            unsigned digits);

/// The lowest member that is one of those, of which there must be at least one. Collective.
Result<Rank> lowest(Group& group, const Call& call, bool is_one);

/// The root's bytes. Collective.
Result<std::vector<std::byte>> broadcast(Group& group, const Call& call, Rank root,
                                         std::span<const std::byte> mine);

}  // namespace lockstep
