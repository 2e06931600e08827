// Polls that have something to look at: who names the poll in which all meet, and who waits for it.
// And a look back at the end.
#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "runtime/group_watch.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep {

using node::PollBoard;

namespace {
/// How late the time limit, or somebody outside, may be noticed.
constexpr Nanos kLookPause = 100 * kMillisecond;
/// How late those who do not poll.
constexpr Nanos kIdlePause = kSecond;

/// "rank 3 120 times, the others 1000": what most have is said last. Empty: all are alike.
std::string odd_counts(std::span<const Rank> ranks, std::span<const std::uint64_t> counts) {
  std::map<std::uint64_t, std::size_t> owners;
  for (const std::uint64_t count : counts) ++owners[count];
  if (owners.size() < 2) return {};
  const auto common = std::max_element(owners.begin(), owners.end(), [](auto& a, auto& b) {
    return std::pair(a.second, a.first) < std::pair(b.second, b.first);
  });
  constexpr std::size_t kNamed = 8;
  const std::size_t odd = counts.size() - common->second;
  std::string text;
  std::size_t named = 0;
  for (std::size_t i = 0; i < ranks.size() && named < kNamed; ++i) {
    if (counts[i] == common->first) continue;
    text += fmt::format("rank {} {} times, ", ranks[i], counts[i]);
    ++named;
  }
  if (odd > named) text += fmt::format("{} more otherwise, ", odd - named);
  return text + fmt::format("the other{} {}", common->second == 1 ? "" : "s", common->first);
}

}  // namespace

/// A quick poll looks at one word. Whoever speaks for a node has to hear when that changes, and
/// whatever cannot change it has to be looked at.
void Group::start_polling() {
  if (lookout_ != nullptr || (!look_out_ && !is_speaker())) return;
  if (is_wide_ && around_.port != nullptr) around_.port->expect_polls();
  lookout_ = std::make_unique<progress::Lookout>(
      local_->polls().call(),
      [this, pause = look_out_ ? kLookPause : kIdlePause, late = Late{}]() mutable {
        if (look_out_) look_out_();
        const bool is_wanted = local_->polls().look().phase == PollBoard::Phase::wanted;
        if (is_wanted && is_wide_ && around_.port != nullptr) around_.port->hand_over();
        look_for_late(late);
        look_for_dead();
        return pause;
      });
}

/// Who polls waits for nobody, and so does not notice by itself that somebody is gone. At a meeting
/// all who are left are told.
void Group::look_for_dead() {
  const Nanos time = now();
  if (time < dead_look_at_ || local_->is_broken()) return;
  dead_look_at_ = after(time, kIdlePause);
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    const bool is_dead = !local_->has_left(member) && has_ended(local_ranks_[member]);
    if (is_dead) want_meeting();
  }
}

/// Members of this node that have not come to the poll where all are to meet: people forget to poll
/// in their evaluation loops.
void Group::look_for_late(Late& late) const {
  const PollBoard::View seen = local_->polls().look();
  const std::uint64_t fire = seen.phase == PollBoard::Phase::fires ? seen.fire : 0;
  const Nanos time = now();
  if (fire != late.fire) late = {fire, time, after(time, around_.config.report)};
  if (fire == 0 || time < late.report_at) return;
  late.report_at = after(time, around_.config.report);
  std::string text;
  for (std::uint32_t member = 0; member < local_->size(); ++member) {
    const std::uint64_t polls = local_->polls().entered(member);
    if (polls >= fire || local_->has_left(member)) continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("rank {} has polled {} times, {}", local_ranks_[member], polls,
                        last_call(member));
  }
  if (text.empty()) return;
  log::warn("a trigger is set, and for {:.3g} s all are to meet in poll {}: {}",
            static_cast<double>(time - late.since) / kSecond, fire, text);
}

Result<bool> Group::meets(const Call& call) {
  PollBoard& board = local_->polls();
  if (board.number() == 1) start_polling();
  for (;;) {
    const PollBoard::View seen = board.look();
    if (local_->is_broken()) {
      // Whoever came to the meeting first has found out; the others find out there too.
      const bool comes_later = seen.phase == PollBoard::Phase::fires && board.number() < seen.fire;
      if (comes_later) return false;
      return broken(call);
    }
    if (is_round_based()) return true;
    switch (seen.phase) {
      case PollBoard::Phase::quiet:
        return false;
      case PollBoard::Phase::fires:
        return seen.fire == board.number();
      case PollBoard::Phase::wanted:
        if (is_wide_) {
          urge_speaker();
          if (board.look().phase == PollBoard::Phase::wanted) return false;
        } else {
          name_poll(seen);
        }
        break;
      case PollBoard::Phase::held: {
        Watch watch{.call = call, .what = Watch::What::poll};
        Status status = this->watch(board.bell(), watch, [&]() noexcept {
          poll_port();
          return board.look().phase != PollBoard::Phase::held;
        });
        if (!status.ok()) return status;
        break;
      }
    }
  }
}

/// In a group on one node whoever comes first does it.
void Group::name_poll(const PollBoard::View& seen) noexcept {
  PollBoard& board = local_->polls();
  if (board.try_hold(seen)) board.fire(board.furthest() + 1);
}

/// Between nodes the speakers agree. This member's own thread drives its speaker, if that is here.
void Group::urge_speaker() {
  if (!is_speaker()) {
    const Nanos time = now();
    if (time < speaker_look_at_) return;
    speaker_look_at_ = after(time, kLifeSigns);
    see_to_speaker();
    if (!is_speaker()) return;
  }
  std::lock_guard lock(around_.port->mutex());
  around_.port->poll();
  speaker_->on_idle(now());
}

Status Group::look_at_poll(Watch& watch, Nanos time) {
  if (time >= watch.next_life_sign) {
    watch.next_life_sign = after(time, kLifeSigns);
    const PollBoard::View seen = local_->polls().look();
    if (is_wide_) {
      see_to_speaker();
    } else if (seen.phase == PollBoard::Phase::held && is_gone(seen.holder)) {
      name_poll(seen);
    }
  }
  if (time < watch.deadline) return {};
  return {LOCKSTEP_E_DEADLINE,
          fmt::format("{}: no answer from all nodes within {:.3g} s on where to meet",
                      watch.call.text(), static_cast<double>(time - watch.start) / kSecond)};
}

/// By the last member here to leave: nobody polls any more.
void Group::compare_polls() const {
  const PollBoard& board = local_->polls();
  std::vector<std::uint64_t> counts;
  for (std::uint32_t member = 0; member < local_ranks_.size(); ++member) {
    counts.push_back(board.entered(member));
  }
  const std::string odd = odd_counts(local_ranks_, counts);
  if (odd.empty()) return;
  log::warn(
      "ranks polled unequally often: {}; all have to, or they wait for each other once a trigger "
      "is set",
      odd);
}

}  // namespace lockstep
