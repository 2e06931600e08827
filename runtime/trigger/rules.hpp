// When a trigger fires, and what becomes of the values that it is set with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"

namespace lockstep::trigger {

inline constexpr std::size_t kNameMax = 63;     ///< bytes
inline constexpr std::size_t kReasonMax = 255;  ///< bytes

/// Who has to have set it before it fires.
enum class Policy : std::uint8_t { any, all, quorum, node_leaders };

/// What many values become.
enum class Combine : std::uint8_t { bit_or, max, min, sum, first };

/// Whose cause is reported of several that are equally urgent.
enum class Order : std::uint8_t { earliest, lowest_rank };

/// The same on all members of the group. Also the form on the wire.
struct Rules {
  Policy policy = Policy::any;
  Combine combine = Combine::bit_or;
  Order order = Order::earliest;
  std::uint8_t reserved = 0;
  std::uint32_t quorum = 0;  ///< members, of Policy::quorum

  bool operator==(const Rules&) const = default;
  std::string text() const;  ///< "quorum of 3, sum"
};
static_assert(sizeof(Rules) == 8);

/// LOCKSTEP_E_INVALID: they make no sense in a group of that size.
Status check_rules(const Rules& rules, std::uint32_t size);

/// So many members are that fraction of the group, at least one: half of 5 is 3.
std::uint32_t members_of(double fraction, std::uint32_t size) noexcept;

/// LOCKSTEP_E_INVALID: empty, too long, or not to be printed.
Status check_name(std::string_view name);

/// Two values made one. `first` has no order of its own: whoever calls knows whose value stays.
std::uint64_t combined(Combine combine, std::uint64_t kept, std::uint64_t more) noexcept;

}  // namespace lockstep::trigger
