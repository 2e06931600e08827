// What a visitor sees in a page: a copy of the few lines that matter, in which nothing is believed.
//
// The bytes come through a function and are checked before use: the page may be of another version,
// cut short, or written by somebody who means harm to whoever looks. Numbers are read while the job
// goes on; a state may be a moment old, and is never a mixture that misleads for longer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"

namespace lockstep::outside {

/// Copies bytes of a page; false if they are not there.
using Read = std::function<bool(std::size_t offset, std::span<std::byte> to)>;

enum class Doing {
  waits,            ///< in a round that has not ended
  waits_for_first,  ///< until the first has ended its section
  arrived,  ///< in a round that has not ended; it is not in the wait, or since less than 1 ms
  in_section,
  between,  ///< in no call that lasts
};
const char* doing_name(Doing doing) noexcept;

/// One member in one of its groups.
struct Seat {
  GroupId group = 0;
  Doing doing = Doing::between;
  Epoch round = 0;       ///< the last it has entered
  std::string site;      ///< of its last call there; empty: none yet
  Nanos site_since = 0;  ///< when it first came to that site without another call in between
  std::optional<Nanos> since = std::nullopt;  ///< when what it is doing began, if that is known
};

struct MemberView {
  Rank rank = 0;
  std::uint64_t pid = 0;
  std::uint64_t pid_namespace = 0;
  bool has_left = false;
  std::vector<Seat> seats;  ///< the job's first
};

struct GroupView {
  GroupId id = 0;
  bool is_broken = false;
};

struct Snapshot {
  std::uint64_t session = 0;
  std::uint32_t ranks = 0;
  std::uint32_t node = 0;
  std::uint32_t nodes = 0;
  std::int64_t started = 0;  ///< seconds since 1970
  std::string job;
  std::string host;
  std::string slurm_job;
  std::string slurm_step;
  std::vector<MemberView> members;
  std::vector<GroupView> groups;
};

/// LOCKSTEP_E_UNSUPPORTED: a page of another version; LOCKSTEP_E_INVALID: no page, or a damaged
/// one; LOCKSTEP_AGAIN: its owner is still writing it.
Result<Snapshot> look_at(const Read& read, std::size_t size, Nanos time);

/// Where the member is, of all its groups: waiting before having arrived, and so on. Precondition:
/// it has a seat.
const Seat& main_seat(const MemberView& member);

/// "waits since 12.3 s at train.cpp:56 wait_for_everyone 'epoch end'"
std::string in_words(const MemberView& member, Nanos time);

}  // namespace lockstep::outside
