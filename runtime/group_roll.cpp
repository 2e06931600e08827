// Who is left: every member comes, or is missed, and all get the same answer
// (docs/decisions/0019). Works where rounds do not, on a group that is broken.
#include <sched.h>

#include <algorithm>

#include <fmt/format.h>

#include "runtime/group_watch.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/progress/rolls.hpp"

namespace lockstep {

using node::RollBoard;

namespace {
/// How often processes of this node are looked at: somebody has just died, or nobody would call.
constexpr Nanos kLookPause = 20 * kMillisecond;
/// How long other nodes may take once all are in a hurry, in times of LOCKSTEP_GRACE: a silent node
/// takes one, a silent coordinator two, and so may those that come after it.
constexpr int kPatience = 8;
}  // namespace

Result<Group::Roll> Group::call_roll(const Call& call) {
  if (is_open_) {
    return Status(LOCKSTEP_E_BUSY,
                  fmt::format("{}: this process has arrived at {} and not waited for it",
                              call.text(), call_.text()));
  }
  if (!left_behind_.ok()) return left_behind_;
  if (is_wide_ && !around_.can_publish) {
    return Status(
        LOCKSTEP_E_UNSUPPORTED,
        fmt::format("{}: those who are left can find each other only where nodes exchange "
                    "frames; type LOCKSTEP_TRANSPORT=ucx",
                    call.text()));
  }
  local_->announce(call.key(), call.text());
  ++rolls_;
  if (!local_->rolls().come(rolls_)) return stay_behind(call);
  see_to_roll();
  Watch watch{.call = call, .what = Watch::What::roll};
  watch.look_pause = kLookPause;
  Status status = this->watch(local_->rolls().bell(), watch, [this]() noexcept {
    poll_port();
    return is_roll_over();
  });
  if (!status.ok()) return status;
  Result<std::vector<Rank>> present = read_roll(call);
  if (!present.ok()) return present.status();
  return Roll{rolls_, std::move(*present)};
}

Status Group::stay_behind(const Call& call) {
  left_behind_ = {
      LOCKSTEP_E_LOST,
      fmt::format("{}: this rank came too late, and the others go on without it; end it",
                  call.text())};
  return left_behind_;
}

bool Group::is_roll_over() noexcept {
  const RollBoard& board = local_->rolls();
  return is_wide_ ? board.agreement() >= rolls_ : board.is_complete(rolls_);
}

Status Group::look_at_roll(Watch& watch, Nanos time) {
  RollBoard& board = local_->rolls();
  const bool is_late = time >= watch.deadline;
  if (is_late && watch.has_expired) {
    return {LOCKSTEP_E_DEADLINE,
            fmt::format("{}: the nodes have not agreed on who is left within {:.3g} s",
                        watch.call.text(), static_cast<double>(time - watch.start) / kSecond)};
  }
  if (is_late) {
    watch.has_expired = true;
    watch.deadline = after(time, kPatience * around_.config.grace);
    board.hurry(rolls_);
    for (std::uint32_t member = 0; member < local_->size(); ++member) board.miss(member, rolls_);
  }
  if (is_late || time >= watch.next_life_sign) {
    watch.next_life_sign = after(time, watch.look_pause);
    see_to_roll();
  }
  return {};
}

void Group::see_to_roll() {
  RollBoard& board = local_->rolls();
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    if (!board.is_decided(member, rolls_) && is_gone(member)) board.miss(member, rolls_);
  }
  if (is_wide_) speak_for_those_left();
}

/// Who spoke for this node when it heard may have died before others have.
void Group::go_on_telling(Nanos time) {
  if (!is_wide_ || time < tell_look_at_) return;
  tell_look_at_ = after(time, kLookPause);
  speak_for_those_left();
  if (speaker_ == nullptr) return;
  std::lock_guard lock(around_.port->mutex());
  speaker_->on_idle(time);
}

/// The lowest of those who are left leads in their group, so that other nodes have to know it.
void Group::speak_for_those_left() {
  const RollBoard& board = local_->rolls();
  const bool has_come = board.has_come(local_->self(), rolls_);
  if (is_speaker() || !has_come || !board.is_complete(rolls_)) return;
  std::uint32_t lowest = 0;
  while (lowest < local_->self() && (!board.has_come(lowest, rolls_) || is_gone(lowest))) ++lowest;
  if (lowest != local_->self()) return;
  if (speaker_ == nullptr) {
    if (Status status = stand_by(); !status.ok()) {
      log::warn("cannot speak for its node: {}", status.text());
      return;
    }
  }
  std::lock_guard lock(around_.port->mutex());
  speaker_->take_over();
}

Result<std::vector<Rank>> Group::read_roll(const Call& call) {
  const RollBoard& board = local_->rolls();
  std::vector<Rank> present;
  if (is_wide_) {
    const Layout lies = layout();
    const auto places =
        progress::Rolls::places(lies.node_of, static_cast<NodeIndex>(lies.nodes.size()));
    const std::vector<std::uint32_t> lost = board.missing().list();
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      const bool is_lost = std::binary_search(lost.begin(), lost.end(), places[i]);
      if (!is_lost) present.push_back(ranks_[i]);
    }
  } else {
    for (std::uint32_t member = 0; member < local_->size(); ++member) {
      if (board.has_come(member, rolls_)) present.push_back(local_ranks_[member]);
    }
  }
  if (is_wide_ && present.empty()) {
    return Status(
        LOCKSTEP_E_LIMIT,
        fmt::format("{}: those who are missing are too scattered to be agreed on, in more "
                    "than {} pieces",
                    call.text(), node::kRollRanges));
  }
  if (std::binary_search(present.begin(), present.end(), around_.identity.rank)) return present;
  return stay_behind(call);
}

void Group::report_roll(const Watch& watch, double seconds) const {
  const RollBoard& board = local_->rolls();
  for (std::uint32_t member = 0; member < local_->self(); ++member) {
    if (board.has_come(member, rolls_)) return;
  }
  RankSet awaited;
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    if (!board.is_decided(member, rolls_)) awaited.append(local_ranks_[member]);
  }
  log::warn("has waited {:.3g} s at {} for {}", seconds, watch.call.text(),
            awaited.empty() ? "ranks on other nodes" : whereabouts(awaited));
}

// -- the group of those who are left

Result<std::uint32_t> Group::inherit(const Call& call, const Roll& roll, GroupId id) {
  RollBoard& board = local_->rolls();
  const bootstrap::Identity& identity = around_.identity;
  const auto here = std::count_if(roll.present.begin(), roll.present.end(), [&](Rank rank) {
    return identity.node_of[rank] == identity.node();
  });
  if (!board.heir(roll.number)) {
    const auto block = around_.page.claim_block(id, static_cast<std::uint32_t>(here));
    const bool is_heir = block && board.offer_heir(roll.number, *block);
    if (block && !is_heir) around_.page.free_block(*block);
  }
  if (const auto block = board.heir(roll.number)) return *block;
  return Status(LOCKSTEP_E_LIMIT,
                fmt::format("{}: {} has no room for another group ({} at a time); free groups that "
                            "are done",
                            call.text(), identity.hosts[identity.node()], node::kBlocksMax - 2));
}

Status Group::lead_those_left(const Call& call, const std::vector<Rank>& leaders) {
  speak_for_those_left();
  if (!is_speaker()) {
    return {LOCKSTEP_E_TRANSPORT,
            fmt::format("{}: this rank cannot speak for its node; see its warning", call.text())};
  }
  const bootstrap::Identity& identity = around_.identity;
  const Layout lies = layout();
  const auto is_known = [&](Rank leader) {
    const auto node = std::find(lies.nodes.begin(), lies.nodes.end(), identity.node_of[leader]);
    const auto index = static_cast<NodeIndex>(node - lies.nodes.begin());
    const auto speaker = speaker_->speaker_of(index);
    return index == lies.self || !speaker || *speaker == leader;
  };
  const Nanos until = after(now(), around_.config.grace);
  around_.port->enter();
  for (bool are_known = false; !are_known && now() < until; sched_yield()) {
    std::lock_guard lock(around_.port->mutex());
    around_.port->poll();
    speaker_->on_idle(now());
    are_known = std::all_of(leaders.begin(), leaders.end(), is_known);
  }
  around_.port->leave();
  return {};
}

void Group::set_contacts(std::vector<node::Address> contacts) {
  ways_.contacts = std::move(contacts);
  ways_.is_known.clear();
  if (speaker_ == nullptr) return;
  std::lock_guard lock(around_.port->mutex());
  speaker_->make_all_known();
}

Group::Ways Group::ways_between(const std::vector<Rank>& leaders) const {
  const Layout lies = layout();
  std::vector<node::Address> known = ways_.contacts;
  if (known.empty()) {
    known = node::decode_contacts(around_.page.contacts()).value_or(std::move(known));
  }
  Ways ways;
  ways.are_switches_known = false;
  for (NodeIndex node = 0; node < leaders.size(); ++node) {
    const auto found = std::find(lies.speakers.begin(), lies.speakers.end(), leaders[node]);
    const auto before = static_cast<std::size_t>(found - lies.speakers.begin());
    ways.contacts.push_back(before < known.size() ? known[before] : node::Address{});
    ways.is_known.push_back(!ways.contacts.back().empty());
  }
  if (speaker_ == nullptr) return ways;
  std::lock_guard lock(around_.port->mutex());
  for (const auto& [before, newcomer] : speaker_->newcomers()) {
    const auto found = std::find(leaders.begin(), leaders.end(), newcomer.rank);
    if (found == leaders.end()) continue;
    const auto node = static_cast<NodeIndex>(found - leaders.begin());
    ways.newcomers.push_back({node, newcomer.rank, newcomer.address});
    const auto bytes = std::as_bytes(std::span(newcomer.address));
    ways.contacts[node].assign(bytes.begin(), bytes.end());
  }
  return ways;
}

}  // namespace lockstep
