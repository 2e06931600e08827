// The normal course of a round between nodes: enter, hear facts, execute the plan, complete.
#include "runtime/engine/exchange.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace lockstep::engine {

Exchange::Exchange(Setup setup, const LocalViewSource& local)
    : setup_(std::move(setup)), local_(local), lost_(setup_.members.size(), false) {
  for (const schedule::Step& step : setup_.plan) {
    wait_of_.push_back(waits_.size());
    if (step.kind == schedule::StepKind::wait) waits_.push_back({step.peer, step.round, {}});
  }
  for (const RankSet& members : setup_.members) rank_end_ = std::max(rank_end_, members.end());
}

void Exchange::Inbox::add(std::uint64_t more, std::span<const std::byte> bytes) noexcept {
  word |= more;
  length = std::max(length, static_cast<std::uint32_t>(bytes.size()));
  for (std::size_t i = 0; i < bytes.size(); ++i) vector[i] |= bytes[i];
}

Exchange::Inbox& Exchange::fresh_inbox(Epoch epoch) noexcept {
  Inbox& box = inbox(epoch);
  if (box.epoch != epoch) {
    box.epoch = epoch;
    box.word = 0;
    std::memset(box.vector.data(), 0, box.length);
    box.length = 0;
  }
  return box;
}

Frame Exchange::make(FrameType type, Epoch epoch) const noexcept {
  Frame frame;
  frame.type = type;
  frame.session = setup_.session;
  frame.group = setup_.group;
  frame.epoch = epoch;
  frame.sender = setup_.leaders[setup_.self];
  frame.signature = signature_;
  frame.site = site_;
  return frame;
}

void Exchange::send_all(const Frame& frame, Output& out) {
  for (NodeIndex node = 0; node < setup_.leaders.size(); ++node) {
    if (node != setup_.self && !lost_[node]) out.push_back({node, frame});
  }
}

std::optional<NodeIndex> Exchange::node_of(Rank leader) const noexcept {
  // Groups list their nodes in the order of their leaders' ranks.
  const auto found = std::lower_bound(setup_.leaders.begin(), setup_.leaders.end(), leader);
  if (found == setup_.leaders.end() || *found != leader) return std::nullopt;
  return static_cast<NodeIndex>(found - setup_.leaders.begin());
}

bool Exchange::has_heard(NodeIndex node, Epoch epoch) const noexcept {
  return std::any_of(waits_.begin(), waits_.end(), [&](const Wait& wait) {
    return wait.peer == node && wait.heard[epoch & 1].epoch == epoch;
  });
}

bool Exchange::is_waiting_for(NodeIndex node) const noexcept {
  return state_ == ExchangeState::open &&
         std::any_of(waits_.begin(), waits_.end(), [&](const Wait& wait) {
           return wait.peer == node && wait.heard[epoch_ & 1].epoch != epoch_;
         });
}

void Exchange::enter(Epoch epoch, const Contribution& mine, Nanos now, Output& out) {
  assert(state_ != ExchangeState::open && epoch == epoch_ + 1);
  if (state_ == ExchangeState::broken) return;
  epoch_ = epoch;
  signature_ = mine.signature;
  site_ = mine.site;
  cursor_ = 0;
  state_ = ExchangeState::open;
  fresh_inbox(epoch).add(mine.word, mine.vector);
  notice(now, out);
  if (next_verdict_) {
    verdict_ = std::move(*next_verdict_);
    state_ = ExchangeState::broken;
    return;
  }
  const bool is_mixed = std::any_of(waits_.begin(), waits_.end(), [&](const Wait& wait) {
    const Heard& heard = wait.heard[epoch & 1];
    return heard.epoch == epoch && heard.signature != signature_;
  });
  // A leader that everybody waits for must not wait on the lost: find out at once.
  const bool has_lost = std::find(lost_.begin(), lost_.end(), true) != lost_.end();
  if (is_mixed || has_lost) take_census(epoch, false, now, out);
  advance(out);
}

void Exchange::send_fact(const schedule::Step& step, Output& out) {
  Frame fact = make(FrameType::fact, epoch_);
  fact.step = step.round;
  fact.word = inbox(epoch_).word;
  fact.payload = vector();
  out.push_back({step.peer, fact});
}

void Exchange::advance(Output& out) {
  if (state_ != ExchangeState::open) return;
  for (; cursor_ < setup_.plan.size(); ++cursor_) {
    const schedule::Step& step = setup_.plan[cursor_];
    if (step.kind == schedule::StepKind::send) {
      send_fact(step, out);
      continue;
    }
    const Heard& heard = waits_[wait_of_[cursor_]].heard[epoch_ & 1];
    if (heard.epoch != epoch_ || heard.signature != signature_) return;
  }
  if (freeze(epoch_).epoch == epoch_ || is_asking()) return;
  state_ = ExchangeState::complete;
  completed_ = epoch_;
}

/// A node that stood still may have missed a question, and must not complete what others broke.
void Exchange::notice(Nanos now, Output& out) {
  stood_still_ = stood_still_ || (noticed_ != 0 && now - noticed_ >= setup_.grace / 2);
  noticed_ = now;
  if (!stood_still_ || state_ != ExchangeState::open) return;
  stood_still_ = false;
  take_census(epoch_, false, now, out);
}

bool Exchange::receive(const Frame& frame, Nanos now, Output& out) {
  notice(now, out);
  const auto from = node_of(frame.sender);
  if (!from || *from == setup_.self) return false;
  switch (frame.type) {
    case FrameType::fact:
      return on_fact(*from, frame, now, out);
    case FrameType::ask:
      on_ask(*from, frame, now, out);
      return true;
    case FrameType::answer:
      on_answer(*from, frame, out);
      return true;
    case FrameType::resume:
      on_resume(*from, frame, out);
      return true;
    case FrameType::broken:
      on_broken(frame, now, out);
      return true;
    default:
      break;
  }
  return false;
}

bool Exchange::on_fact(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  const bool is_current = frame.epoch == epoch_ && state_ == ExchangeState::open;
  const bool is_next = frame.epoch == epoch_ + 1;
  if (frame.epoch > epoch_ + 1) return false;
  if (!is_current && !is_next) return true;  // late or repeated: known already
  const auto wait = std::find_if(waits_.begin(), waits_.end(), [&](const Wait& w) {
    return w.peer == from && w.round == frame.step;
  });
  if (wait == waits_.end()) return false;
  if (is_current && frame.signature != signature_) {
    take_census(epoch_, false, now, out);  // its answer brings the other site
    return true;
  }
  wait->heard[frame.epoch & 1] = {frame.epoch, frame.signature};
  fresh_inbox(frame.epoch).add(frame.word, frame.payload);
  if (is_current) advance(out);
  return true;
}

}  // namespace lockstep::engine
