// Who has set a trigger since it last fired: the same on every rank that was told the same records,
// in whatever order.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/time.hpp"
#include "runtime/trigger/rules.hpp"

namespace lockstep::trigger {

/// One rank's set, as it is told to the others. Also the form on the wire.
struct Record {
  std::uint64_t trigger = 0;  ///< hash of its name
  std::uint64_t value = 0;
  Nanos time = 0;  ///< since 1970: ranks of several nodes compare it
  Rules rules{};
  Rank rank = 0;             ///< of the group
  std::uint8_t urgency = 0;  ///< the smaller, the more urgent
  std::uint8_t left = 0;     ///< further records of this rank that come with it
  std::uint16_t reserved = 0;

  bool operator==(const Record&) const = default;
};
static_assert(sizeof(Record) == 40);

/// Whether `a` is reported rather than `b`.
bool comes_before(const Record& a, const Record& b) noexcept;

/// The group, as policies see it.
struct Members {
  std::uint32_t count = 1;
  std::vector<Rank> node_leaders;  ///< the first rank of every node, ascending
};

class Tally {
 public:
  /// `members` outlives it.
  Tally(const Rules& rules, const Members& members);

  /// A rank counts once, however often it sets; its values all count.
  /// @return Whether the trigger is due.
  bool tell(const Record& record);

  bool is_due() const noexcept;
  const Rules& rules() const noexcept { return rules_; }
  std::uint32_t setters() const noexcept { return setters_; }
  /// What follows makes sense when there are setters.
  std::uint64_t value() const noexcept {
    return rules_.combine == Combine::first ? first_.value : value_;
  }
  const Record& first() const noexcept { return first_; }
  Nanos since() const noexcept { return since_; }  ///< the earliest set

 private:
  Rules rules_;
  const Members* members_;
  std::vector<bool> has_set_;
  std::uint32_t setters_ = 0;
  std::uint32_t leaders_ = 0;  ///< setters that are the first of their node
  std::uint64_t value_ = 0;
  Record first_;
  Nanos since_ = 0;
};

}  // namespace lockstep::trigger
