// The group of those who are left: the roll is called, and who has answered is in it.
//
// It is made by what each of them knows, without a round, which a member that dies meanwhile would
// break for some and not for others: whoever is left has the group, and finds out in it.
#include <algorithm>

#include "lockstep/lockstep.h"
#include "runtime/child_id.hpp"
#include "runtime/collect.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

bool is_broken(const Status& status) {
  return status.code() == LOCKSTEP_E_LOST || status.code() == LOCKSTEP_E_DEADLINE;
}

/// The lowest of the ranks on each of their nodes, in the order of nodes.
std::vector<Rank> leaders_among(const bootstrap::Identity& who, const std::vector<Rank>& ranks) {
  std::vector<Rank> leaders;
  for (const Rank rank : ranks) {
    const bool has_one = std::any_of(leaders.begin(), leaders.end(), [&](Rank leader) {
      return who.node_of[leader] == who.node_of[rank];
    });
    if (!has_one) leaders.push_back(rank);
  }
  return leaders;
}

/// Its first round, in which leaders tell all where they can be reached, for who comes after them.
Status meet(Group& group, const Call& call, progress::Port* port, bool leads) {
  std::vector<std::byte> address;
  if (leads) {
    std::lock_guard lock(port->mutex());
    Result<std::vector<std::byte>> own = port->address();
    if (!own.ok()) return own.status();
    address = std::move(*own);
  }
  Result<std::vector<std::vector<std::byte>>> all = gather_all(group, call, address);
  if (!all.ok()) return all.status();
  std::vector<node::Address> contacts;
  for (node::Address& one : *all) {
    if (!one.empty()) contacts.push_back(std::move(one));
  }
  group.set_contacts(std::move(contacts));
  return {};
}

}  // namespace

Result<Group*> Session::make_heir(Group& parent, const Group::Roll& roll, const Call& call) {
  // Also by who is in it: should nodes that do not hear each other decide differently, their groups
  // are not the same.
  std::uint64_t number = roll.number;
  for (const Rank rank : roll.present) number = mix(number ^ rank);
  const GroupId id = child_id(parent.id(), number, LOCKSTEP_NO_GROUP);
  const std::vector<Rank> leaders = leaders_among(identity(), roll.present);
  const bool is_wide = leaders.size() > 1;
  const bool leads = std::find(leaders.begin(), leaders.end(), identity().rank) != leaders.end();
  Result<std::uint32_t> block = parent.inherit(call, roll, id);
  if (!block.ok()) return block.status();
  if (is_wide && leads) {
    if (Status status = parent.lead_those_left(call, leaders); !status.ok()) return status;
  }
  Group::Ways ways;
  if (is_wide) ways = parent.ways_between(leaders);
  Result<std::unique_ptr<Group>> group =
      Group::make(*around_, id, roll.present, *block, std::move(ways));
  if (!group.ok()) return group.status();
  std::lock_guard lock(groups_mutex_);
  return groups_.emplace_back(std::move(*group)).get();
}

Result<Group*> Session::shrink(Group& group, const Call& call) {
  for (Group* last = &group;;) {
    Result<Group::Roll> roll = last->call_roll(call);
    if (!roll.ok()) return roll.status();
    Result<Group*> heir = make_heir(*last, *roll, call);
    if (!heir.ok()) return heir.status();
    const std::vector<Rank> leaders = leaders_among(identity(), roll->present);
    const bool leads = leaders.size() > 1 &&
                       std::find(leaders.begin(), leaders.end(), identity().rank) != leaders.end();
    (*heir)->look_after(last);
    const Status met = meet(**heir, call, around_->port, leads);
    if (met.ok()) {
      for (Group* one = *heir; one != nullptr; one = one->forget_parent()) continue;
      return heir;
    }
    if (!is_broken(met)) return met;
    // Somebody was lost meanwhile. The group stays: who has not noticed meets the others there.
    log::debug("{}; once more", met.text());
    last = *heir;
  }
}

}  // namespace lockstep
