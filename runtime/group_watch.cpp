// What a waiting member looks for: verdicts, deadlines, members that are gone, time for a report.
#include "runtime/group_watch.hpp"

#include <signal.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "runtime/observe/log.hpp"

namespace lockstep {
namespace {
constexpr Nanos kStandstill = kSecond;    // a waiting process looks ten times as often
constexpr Nanos kLasting = kMillisecond;  // visitors are told of a wait that is longer
}  // namespace

Status Group::look(Watch& watch) {
  const Nanos time = now();
  if (watch.start == 0) watch.start = time;
  if (watch.deadline == 0) {
    // Rounds end by themselves; a section's first may work for hours.
    const bool is_section = watch.what == Watch::What::section;
    const Nanos standard = is_section ? kNever : around_.config.timeout;
    watch.deadline = after(watch.start, watch.call.timeout.value_or(standard));
    watch.next_report = after(watch.start, around_.config.report);
    watch.next_life_sign = after(watch.start, watch.look_pause);
    watch.last_look = time;
  }
  // Stopped meanwhile, with the whole job perhaps (scontrol suspend): that is nobody's fault.
  if (const Nanos gap = time - watch.last_look; gap > kStandstill) {
    watch.deadline = after(watch.deadline, gap);
    watch.next_report = after(watch.next_report, gap);
  }
  watch.last_look = time;
  if (!watch.is_said && !watch.is_test && time - watch.start >= kLasting) {
    watch.is_said = true;
    const bool is_section = watch.what == Watch::What::section;
    local_->say_waiting(is_section ? node::kWaitsForSection | watch.attempt.section : epoch_,
                        watch.start);
  }
  if (speaker_ != nullptr) {
    std::lock_guard lock(around_.port->mutex());
    speaker_->on_idle(time);
  }
  for (Group* group = parent_; group != nullptr; group = group->parent_) group->go_on_telling(time);
  const bool is_roll = watch.what == Watch::What::roll;
  if (local_->is_broken() && !is_roll) return broken(watch.call);
  Status status;
  switch (watch.what) {
    case Watch::What::round:
      status = look_at_round(watch, time);
      break;
    case Watch::What::section:
      status = look_at_section(watch, time);
      break;
    case Watch::What::poll:
      status = look_at_poll(watch, time);
      break;
    case Watch::What::roll:
      status = look_at_roll(watch, time);
      break;
  }
  if (!status.ok()) return status;
  if (time >= watch.next_report) {
    report(watch, time);
    watch.next_report = after(time, around_.config.report);
  }
  return {};
}

Status Group::look_at_round(Watch& watch, Nanos time) {
  // A round whose leader has arrived but is away between arrive and wait can be finished by
  // anybody.
  if (!is_wide_ && local_->has_everybody(epoch_)) finish_here();
  if (time >= watch.next_life_sign) {
    watch.next_life_sign = after(time, kLifeSigns);
    RankSet gone;
    std::string how;
    bool leader_is_gone = false;
    for (std::uint32_t member = 0; member < local_->size(); ++member) {
      if (local_->entered(member) >= epoch_ && !(is_wide_ && member == 0)) continue;
      if (!is_gone(member)) continue;
      constexpr std::size_t kHowMax = 200;  // the others are named without
      const std::string one = how.size() < kHowMax ? obituary(member) : "";
      if (!one.empty()) how += (how.empty() ? "" : "; ") + one;
      gone.append(local_ranks_[member]);
      leader_is_gone = leader_is_gone || member == 0;
    }
    // In a wide group the leader speaks for the node, unless it is the one that is gone.
    if (!gone.empty() && (!is_wide_ || leader_ != nullptr || leader_is_gone)) {
      engine::Verdict verdict;
      verdict.cause = LOCKSTEP_E_LOST;
      verdict.epoch = epoch_;
      verdict.text = std::move(how);
      verdict.missing = std::move(gone);
      fail_here(std::move(verdict));
    }
  }
  if (time >= watch.deadline) give_up_round(watch, time);
  return local_->is_broken() ? broken(watch.call) : Status{};
}

void Group::give_up_round(Watch& watch, Nanos time) {
  if (is_wide_ && leader_ == nullptr) {
    // The leader asks the other nodes; only if it stays silent this node decides alone.
    if (!watch.has_expired) {
      watch.has_expired = true;
      local_->expire(epoch_);
      watch.deadline = after(time, 5 * around_.config.grace);
      return;
    }
  } else if (leader_ != nullptr) {
    std::lock_guard lock(around_.port->mutex());
    leader_->expire(epoch_, time);
    watch.deadline = after(time, 2 * around_.config.grace);
    return;
  }
  engine::Verdict verdict;
  verdict.cause = LOCKSTEP_E_DEADLINE;
  verdict.epoch = epoch_;
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    if (local_->entered(member) < epoch_) verdict.missing.append(local_ranks_[member]);
  }
  if (is_wide_) {
    verdict.text =
        fmt::format("rank {}, which speaks for this node, does not answer", local_ranks_[0]);
    if (verdict.missing.empty()) verdict.missing.append(local_ranks_[0]);
  }
  fail_here(std::move(verdict));
}

void Group::fail_here(engine::Verdict verdict) {
  if (leader_ != nullptr) {
    std::lock_guard lock(around_.port->mutex());
    leader_->fail(std::move(verdict));
  } else if (local_->claim(epoch_)) {
    local_->break_with(engine::encode_verdict(verdict));
  }
}

Status Group::look_at_section(Watch& watch, Nanos time) {
  if (time >= watch.next_life_sign) {
    watch.next_life_sign = after(time, kLifeSigns);
    inquire(watch);
  }
  if (time < watch.deadline) return {};
  const Rank first = ranks_[watch.attempt.number];
  return {
      LOCKSTEP_E_DEADLINE,
      fmt::format("{}: rank {} on {}, which goes first, was not done after {:.3g} s",
                  watch.call.text(), first, around_.identity.hosts[around_.identity.node_of[first]],
                  static_cast<double>(time - watch.start) / kSecond),
      {first}};
}

/// Has left the session, or its process has ended; false also means "cannot be told from here".
bool Group::is_gone(std::uint32_t local_member) const {
  return local_->has_left(local_member) || has_ended(local_ranks_[local_member]);
}

std::vector<Rank> Group::gone_here() const {
  std::vector<Rank> gone;
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    if (is_gone(member)) gone.push_back(local_ranks_[member]);
  }
  return gone;
}

bool Group::has_ended(Rank rank) const {
  const node::Member* mine = nullptr;
  const node::Member* other = nullptr;
  for (const node::Member& member : around_.page.members()) {
    if (member.rank == around_.identity.rank) mine = &member;
    if (member.rank == rank) other = &member;
  }
  if (mine == nullptr || other == nullptr) return false;
  if (mine->pid_namespace == other->pid_namespace) {
    return kill(static_cast<pid_t>(other->pid), 0) != 0 && errno == ESRCH;
  }
  const auto task = around_.exits.task_of(rank);
  return task && task->wait_status;
}

/// "rank 3 was killed by SIGKILL", as far as it is known; empty otherwise.
std::string Group::obituary(std::uint32_t local_member) const {
  const Rank rank = local_ranks_[local_member];
  if (local_->has_left(local_member)) return fmt::format("rank {} has left the session", rank);
  // Slurm's daemon tells a moment after the process is gone.
  const Nanos deadline = after(now(), 50 * kMillisecond);
  auto task = around_.exits.task_of(rank);
  while (task && !task->wait_status && now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    task = around_.exits.task_of(rank);
  }
  if (!task || !task->wait_status) return {};
  return fmt::format("rank {} {}", rank, node::describe_exit(*task->wait_status));
}

std::string Group::whereabouts(const RankSet& ranks) const {
  std::vector<RankSet> by_node(around_.identity.hosts.size());
  for (const Rank rank : ranks.list()) {
    if (rank < around_.identity.size) by_node[around_.identity.node_of[rank]].append(rank);
  }
  std::string text;
  for (NodeIndex node = 0; node < by_node.size(); ++node) {
    if (by_node[node].empty()) continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {} on {}", by_node[node].size() == 1 ? "rank" : "ranks",
                        by_node[node].text(), around_.identity.hosts[node]);
  }
  return text;
}

void Group::report(const Watch& watch, Nanos time) const {
  const double seconds = static_cast<double>(time - watch.start) / kSecond;
  // One voice per node: the lowest member that is waiting.
  if (watch.what == Watch::What::roll) return report_roll(watch, seconds);
  if (watch.what == Watch::What::poll) {
    log::warn("has waited {:.3g} s at {} for other nodes to say how far they are", seconds,
              watch.call.text());
    return;
  }
  if (watch.what == Watch::What::section) {
    for (std::uint32_t member = 0; member < local_->self(); ++member) {
      if (local_->waits_for(member, node::kWaitsForSection | watch.attempt.section)) return;
    }
    const Rank first = ranks_[watch.attempt.number];
    log::warn("has waited {:.3g} s at {} for rank {} on {} to finish its section", seconds,
              watch.call.text(), first, around_.identity.hosts[around_.identity.node_of[first]]);
    return;
  }
  RankSet missing;
  std::optional<std::uint32_t> lowest;
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    if (local_->entered(member) >= epoch_) continue;
    missing.append(local_ranks_[member]);
    if (!lowest) lowest = member;
  }
  for (std::uint32_t member = 0; member < local_->self(); ++member) {
    if (local_->entered(member) >= epoch_) return;
  }
  if (missing.empty()) {
    log::warn("has waited {:.3g} s at {} for ranks on other nodes", seconds, watch.call.text());
  } else {
    log::warn("has waited {:.3g} s at {} for {}, {}", seconds, watch.call.text(),
              whereabouts(missing), last_call(*lowest));
  }
}

/// "last at train.cpp:12 wait_for_everyone 'epoch end'"
std::string Group::last_call(std::uint32_t local_member) const {
  const std::string site = local_->site_of(local_member);
  return site.empty() ? "without any other call" : "last at " + site;
}

Status Group::broken(const Call& call) const {
  const auto verdict = engine::decode_verdict(local_->verdict());
  if (!verdict) return {LOCKSTEP_E_LOST, fmt::format("{}: the group is broken", call.text())};
  std::string text = call.text() + ": ";
  if (!is_open_ || verdict->epoch != epoch_) text += "this group broke in an earlier call: ";
  const std::uint64_t count = verdict->missing.size();
  if (verdict->cause == LOCKSTEP_E_MISMATCH) {
    text += fmt::format("members are in different calls: {}", verdict->text);
  } else if (count == 0 && !verdict->text.empty()) {
    text += verdict->text;
  } else {
    const char* const what = verdict->cause == LOCKSTEP_E_LOST ? "gone" : "missing at the deadline";
    text += fmt::format("{} of {} ranks {} {}: {}", count, size(), count == 1 ? "was" : "were",
                        what, whereabouts(verdict->missing));
    if (verdict->is_truncated) text += " and more";
    if (!verdict->text.empty()) text += fmt::format(" ({})", verdict->text);
  }
  return {verdict->cause, std::move(text), verdict->missing.list()};
}

}  // namespace lockstep
