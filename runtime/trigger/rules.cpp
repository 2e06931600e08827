// Rules in words, and what is wrong with them.
#include "runtime/trigger/rules.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "runtime/base/clean_text.hpp"

namespace lockstep::trigger {
namespace {

const char* combine_name(Combine combine) {
  switch (combine) {
    case Combine::bit_or:
      return "or";
    case Combine::max:
      return "max";
    case Combine::min:
      return "min";
    case Combine::sum:
      return "sum";
    case Combine::first:
      return "first";
  }
  return "?";
}

std::string policy_text(const Rules& rules) {
  switch (rules.policy) {
    case Policy::any:
      return "any";
    case Policy::all:
      return "all";
    case Policy::quorum:
      return fmt::format("quorum of {}", rules.quorum);
    case Policy::node_leaders:
      return "node leaders";
  }
  return "?";
}

}  // namespace

std::string Rules::text() const {
  return fmt::format("{}, {}", policy_text(*this), combine_name(combine));
}

Status check_rules(const Rules& rules, std::uint32_t size) {
  if (rules.policy > Policy::node_leaders) {
    return {LOCKSTEP_E_INVALID, "no such policy of a trigger: use any, all, quorum, node leaders"};
  }
  if (rules.combine > Combine::first) {
    return {LOCKSTEP_E_INVALID, "no such way to combine values: use or, max, min, sum, first"};
  }
  if (rules.policy == Policy::quorum && (rules.quorum == 0 || rules.quorum > size)) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("a quorum of {} in a group of {} makes no sense: name 1 to {} members, or "
                        "a fraction above 0 and up to 1",
                        rules.quorum, size, size)};
  }
  return {};
}

std::uint32_t members_of(double fraction, std::uint32_t size) noexcept {
  constexpr double kRounding = 1e-6;  // 0.07 of 100 are 7, whatever 0.07 is in binary
  const double members = std::ceil(fraction * size - kRounding);
  return std::max(static_cast<std::uint32_t>(members), 1u);
}

Status check_name(std::string_view name) {
  if (name.empty()) {
    return {LOCKSTEP_E_INVALID,
            "a trigger's name is empty: give it one; the one without a name is that of "
            "lockstep_check_trigger()"};
  }
  if (name.size() > kNameMax) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("the trigger's name '{}...' has {} bytes, at most {} are allowed",
                        clean_text(name, 20), name.size(), kNameMax)};
  }
  if (clean_text(name, kNameMax) != name) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("the trigger's name '{}' has bytes that cannot be printed (here '?'): use "
                        "text in UTF-8 without control characters",
                        clean_text(name, kNameMax))};
  }
  return {};
}

std::uint64_t combined(Combine combine, std::uint64_t kept, std::uint64_t more) noexcept {
  switch (combine) {
    case Combine::bit_or:
      return kept | more;
    case Combine::max:
      return std::max(kept, more);
    case Combine::min:
      return std::min(kept, more);
    case Combine::sum:
      return kept + more;
    case Combine::first:
      break;
  }
  return kept;
}

}  // namespace lockstep::trigger
