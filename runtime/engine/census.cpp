// The other course of a round: somebody waits too long, asks everybody, and one verdict is reached.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "runtime/engine/exchange.hpp"

namespace lockstep::engine {

void Exchange::ask(Epoch epoch, Nanos now, Output& out) {
  take_census(epoch, true, now, out);
}

void Exchange::take_census(Epoch epoch, bool is_deadline, Nanos now, Output& out) {
  if (state_ == ExchangeState::broken) return;
  if (is_asking()) {
    census_.is_deadline = census_.is_deadline || (is_deadline && census_.epoch == epoch);
    return;
  }
  if (epoch <= epoch_ && state_ != ExchangeState::open) return;  // completed meanwhile
  const Freeze& frozen = freeze(epoch);
  if (frozen.epoch == epoch && now < frozen.until) return;  // somebody else is deciding
  census_ = Census{};
  census_.epoch = epoch;
  census_.is_deadline = is_deadline;
  census_.until = after(now, setup_.grace);
  census_.answered.assign(setup_.members.size(), false);
  add_view(setup_.self, local_.local_view(epoch));
  if (epoch == epoch_) {
    census_.sum.add(inbox(epoch).word, inbox(epoch).bytes());
    ++census_.entered;
  }
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    if (lost_[node]) add_silent(node, "has left or cannot be reached");
  }
  Frame question = make(FrameType::ask, epoch);
  question.site = ++question_;
  send_all(question, out);
  if (census_.answers == setup_.members.size()) decide(out);
}

void Exchange::add_view(NodeIndex node, const LocalView& view) {
  census_.answered[node] = true;
  ++census_.answers;
  census_.late.merge(view.missing);
  if (view.signature == 0) return;
  if (census_.signature == 0) {
    census_.signature = view.signature;
    census_.site = view.site;
  } else if (census_.signature != view.signature && !census_.is_mismatch) {
    census_.is_mismatch = true;
    census_.text = census_.site + ", but " + view.site;
  }
}

void Exchange::add_silent(NodeIndex node, const char* why) {
  if (census_.answered[node]) return;
  census_.answered[node] = true;
  ++census_.answers;
  // It did its part before it went: its facts, and with them its contribution, are here.
  if (census_.epoch == epoch_ && has_heard(node, epoch_)) {
    ++census_.entered;
    return;
  }
  census_.gone.merge(setup_.members[node]);
  if (!census_.text.empty()) census_.text += "; ";
  census_.text += fmt::format("rank {} on {} {}", setup_.leaders[node], setup_.hosts[node], why);
}

void Exchange::on_ask(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  Frame answer = make(FrameType::answer, frame.epoch);
  answer.site = frame.site;
  if (frame.epoch <= completed_) {
    answer.flags = kAnswerComplete;
    if (inbox(frame.epoch).epoch == frame.epoch) {
      answer.word = inbox(frame.epoch).word;
      answer.payload = inbox(frame.epoch).bytes();
    }
    out.push_back({from, answer});
    return;
  }
  if (state_ == ExchangeState::broken) {
    scratch_ = encode_verdict(verdict_);
    Frame broken = make(FrameType::broken, verdict_.epoch);
    broken.payload = scratch_;
    out.push_back({from, broken});
    return;
  }
  // The lowest node that asks decides; a higher one gives its own question up.
  if (is_asking() && census_.epoch == frame.epoch && from < setup_.self) census_ = Census{};
  Freeze& frozen = freeze(frame.epoch);
  if (frozen.epoch != frame.epoch || from < frozen.by) frozen.by = from;
  frozen.epoch = frame.epoch;
  frozen.until = after(after(after(now, setup_.grace), setup_.grace), setup_.grace);
  answer_with_view(from, answer, out);
  // Whoever asks about the next epoch has completed this one, and has its result.
  if (state_ == ExchangeState::open && frame.epoch == epoch_ + 1) {
    take_census(epoch_, false, now, out);
  }
}

/// The first `step` bytes of the payload are the members missing here or, on a node that has
/// entered (kAnswerEntered), its vector; the rest is the site.
void Exchange::answer_with_view(NodeIndex to, Frame answer, Output& out) {
  const LocalView view = local_.local_view(answer.epoch);
  const bool has_entered = answer.epoch == epoch_ && state_ == ExchangeState::open;
  bool truncated = false;
  scratch_ = encode_ranges(view.missing, kPayloadMax / 2, truncated);
  if (truncated) answer.flags |= kTruncated;
  answer.step = static_cast<std::uint16_t>(scratch_.size());
  answer.signature = view.signature;
  if (has_entered && view.missing.empty()) {
    answer.flags |= kAnswerEntered;
    answer.word = inbox(answer.epoch).word;
    const std::span<const std::byte> vector = inbox(answer.epoch).bytes();
    scratch_.assign(vector.begin(), vector.end());
    answer.step = static_cast<std::uint16_t>(scratch_.size());
  }
  for (std::size_t i = 0; i < view.site.size() && scratch_.size() < kPayloadMax; ++i) {
    scratch_.push_back(static_cast<std::byte>(view.site[i]));
  }
  answer.payload = scratch_;
  out.push_back({to, answer});
}

void Exchange::on_answer(NodeIndex from, const Frame& frame, Output& out) {
  const bool is_mine = is_asking() && frame.epoch == census_.epoch && frame.site == question_;
  if (!is_mine || census_.answered[from]) return;
  if ((frame.flags & kAnswerComplete) != 0) {
    const Epoch epoch = census_.epoch;
    census_ = Census{};
    complete(epoch, frame.word, frame.payload, out);
    return;
  }
  if (frame.step > frame.payload.size()) return;  // malformed: as if it had not come
  const std::span<const std::byte> first = frame.payload.first(frame.step);
  LocalView view;
  view.signature = frame.signature;
  for (const std::byte b : frame.payload.subspan(frame.step)) view.site += static_cast<char>(b);
  if ((frame.flags & kAnswerEntered) != 0) {
    census_.sum.add(frame.word, first);
    ++census_.entered;
  } else {
    auto missing = decode_ranges(first);
    if (!missing || missing->end() > rank_end_) return;
    view.missing = std::move(*missing);
  }
  if ((frame.flags & kTruncated) != 0) census_.is_truncated = true;
  add_view(from, view);
  if (census_.answers == setup_.members.size()) decide(out);
}

/// Everybody has entered the open epoch and its result is known: nothing is missing but facts, and
/// what all of them add up to replaces them. Nothing else can come of it, whoever froze it.
void Exchange::adopt(std::uint64_t word, std::span<const std::byte> vector, Output& out) {
  inbox(epoch_).add(word, vector);
  for (Wait& wait : waits_) wait.heard[epoch_ & 1] = {epoch_, signature_};
  if (freeze(epoch_).epoch == epoch_) freeze(epoch_).epoch = 0;
  advance(out);
}

/// Ends a question about an epoch that everybody has entered. Everybody is told.
void Exchange::complete(Epoch epoch, std::uint64_t word, std::span<const std::byte> vector,
                        Output& out) {
  if (epoch == epoch_ && state_ == ExchangeState::open) adopt(word, vector, out);
  send_all(resume(epoch), out);
}

/// Says that an epoch may go on, and, if it is complete here, with which result.
Frame Exchange::resume(Epoch epoch) const {
  Frame frame = make(FrameType::resume, epoch);
  if (epoch == completed_) {
    frame.flags = kAnswerComplete;
    frame.word = inbox(epoch).word;
    frame.payload = inbox(epoch).bytes();
  }
  return frame;
}

void Exchange::decide(Output& out) {
  Census census = std::move(census_);
  census_ = Census{};
  // This node has heard all that its plan asks for: whoever is gone had entered before it went.
  const bool is_proven = census.epoch == epoch_ && cursor_ == setup_.plan.size();
  if (is_proven) {
    complete(epoch_, inbox(epoch_).word, inbox(epoch_).bytes(), out);
    return;
  }
  const bool is_broken =
      census.is_mismatch || !census.gone.empty() || (census.is_deadline && !census.late.empty());
  if (!is_broken && census.entered == setup_.members.size()) {
    complete(census.epoch, census.sum.word, census.sum.bytes(), out);
    return;
  }
  if (!is_broken) {
    // Somebody is on the way still. What a lost node has not sent may be missed after that.
    if (std::find(lost_.begin(), lost_.end(), true) != lost_.end()) inquire_at_ = census.until;
    send_all(resume(census.epoch), out);
    thaw(census.epoch, out);
    return;
  }
  Verdict verdict;
  verdict.cause = census.is_mismatch    ? LOCKSTEP_E_MISMATCH
                  : census.gone.empty() ? LOCKSTEP_E_DEADLINE
                                        : LOCKSTEP_E_LOST;
  verdict.epoch = census.epoch;
  // In a mismatch nobody is missing: everybody came, but not to the same place.
  if (!census.is_mismatch) verdict.missing = std::move(census.gone);
  // Before a deadline, who has not come yet is on the way.
  if (!census.is_mismatch && census.is_deadline) verdict.missing.merge(census.late);
  verdict.text = std::move(census.text);
  verdict.is_truncated = census.is_truncated;
  fail(std::move(verdict), out);
}

void Exchange::fail(Verdict verdict, Output& out) {
  if (state_ == ExchangeState::broken) return;
  verdict_ = std::move(verdict);
  state_ = ExchangeState::broken;
  scratch_ = encode_verdict(verdict_);
  Frame broken = make(FrameType::broken, verdict_.epoch);
  broken.payload = scratch_;
  send_all(broken, out);
}

void Exchange::on_resume(NodeIndex from, const Frame& frame, Output& out) {
  const bool is_open = frame.epoch == epoch_ && state_ == ExchangeState::open;
  if ((frame.flags & kAnswerComplete) != 0 && is_open && !is_asking()) {
    adopt(frame.word, frame.payload, out);
    return;
  }
  const Freeze& frozen = freeze(frame.epoch);
  if (frozen.epoch == frame.epoch && frozen.by == from) thaw(frame.epoch, out);
}

/// The freeze is over. Facts that somebody was too frozen or too cut off to hear are sent again.
void Exchange::thaw(Epoch epoch, Output& out) {
  freeze(epoch).epoch = 0;
  for (std::size_t i = 0; state_ == ExchangeState::open && i < cursor_; ++i) {
    if (setup_.plan[i].kind == schedule::StepKind::send) send_fact(setup_.plan[i], out);
  }
  advance(out);
}

void Exchange::on_broken(const Frame& frame, Nanos now, Output& out) {
  if (state_ == ExchangeState::broken) return;
  auto verdict = decode_verdict(frame.payload);
  if (!verdict || verdict->missing.end() > rank_end_) return;
  if (frame.epoch <= completed_ || verdict->epoch != frame.epoch) return;
  if (state_ == ExchangeState::open && frame.epoch > epoch_) {
    next_verdict_ = std::move(*verdict);
    take_census(epoch_, false, now, out);
    return;
  }
  verdict_ = std::move(*verdict);
  state_ = ExchangeState::broken;
  census_ = Census{};
}

void Exchange::lose(NodeIndex node, Nanos now, Output& out) {
  if (node >= lost_.size() || lost_[node]) return;
  lost_[node] = true;
  if (is_asking()) {
    add_silent(node, "has left or cannot be reached");
    if (census_.answers == setup_.members.size()) decide(out);
  } else if (is_waiting_for(node)) {
    take_census(epoch_, false, now, out);
  } else if (inquire_at_ == kNever) {
    // A node that leaves in order has sent everything before, and this round is about to end. If it
    // does not, others wait for that node, and may not have been told.
    inquire_at_ = after(now, setup_.grace / 2);
  }
}

/// Sees to others that wait for a lost node without knowing: asks them in an open epoch, and sends
/// them the result of one that is complete here.
void Exchange::follow_up_loss(Nanos now, Output& out) {
  inquire_at_ = kNever;
  if (state_ == ExchangeState::open) {
    take_census(epoch_, false, now, out);
  } else if (state_ == ExchangeState::complete) {
    send_all(resume(epoch_), out);
  }
}

void Exchange::leave(Output& out) {
  if (state_ != ExchangeState::complete) return;
  std::vector<NodeIndex> told;
  for (const schedule::Step& step : setup_.plan) {
    const bool is_new = std::find(told.begin(), told.end(), step.peer) == told.end();
    if (step.kind != schedule::StepKind::send || lost_[step.peer] || !is_new) continue;
    told.push_back(step.peer);
    out.push_back({step.peer, resume(epoch_)});
  }
}

void Exchange::tick(Nanos now, Output& out) {
  notice(now, out);
  if (now >= inquire_at_) follow_up_loss(now, out);
  if (is_asking() && now >= census_.until) {
    for (NodeIndex node = 0; node < setup_.members.size(); ++node) {
      add_silent(node, "does not answer");
    }
    decide(out);
  }
  for (Freeze& frozen : freezes_) {
    if (frozen.epoch == 0 || now < frozen.until) continue;
    const Epoch epoch = std::exchange(frozen.epoch, 0);
    if (epoch == epoch_ && state_ == ExchangeState::open) take_census(epoch, false, now, out);
  }
}

}  // namespace lockstep::engine
