// The other course of a round: somebody waits too long, asks everybody, and one verdict is reached.
#include <algorithm>

#include <fmt/format.h>

#include "runtime/engine/exchange.hpp"

namespace lockstep::engine {

void Exchange::ask(Epoch epoch, Nanos now, Output& out) {
  if (state_ == ExchangeState::broken || is_asking()) return;
  if (epoch <= epoch_ && state_ != ExchangeState::open) return;  // completed meanwhile
  if (frozen_epoch_ == epoch && now < frozen_until_) return;     // somebody else is deciding
  census_ = Census{};
  census_.epoch = epoch;
  census_.until = after(now, setup_.grace);
  census_.answered.assign(setup_.members.size(), false);
  add_view(setup_.self, local_.local_view(epoch));
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    if (lost_[node]) add_silent(node, "has left or cannot be reached");
  }
  send_all(make(FrameType::ask, epoch), out);
  if (census_.answers == setup_.members.size()) decide(out);
}

void Exchange::add_view(NodeIndex node, const LocalView& view) {
  if (census_.answered[node]) return;
  census_.answered[node] = true;
  ++census_.answers;
  census_.missing.merge(view.missing);
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
  census_.has_lost = true;
  census_.missing.merge(setup_.members[node]);
  if (!census_.text.empty()) census_.text += "; ";
  census_.text += fmt::format("rank {} on {} {}", setup_.leaders[node], setup_.hosts[node], why);
}

void Exchange::on_ask(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  Frame answer = make(FrameType::answer, frame.epoch);
  if (state_ == ExchangeState::broken) {
    scratch_ = encode_verdict(verdict_);
    Frame broken = make(FrameType::broken, verdict_.epoch);
    broken.payload = scratch_;
    out.push_back({from, broken});
    return;
  }
  const bool has_completed =
      frame.epoch < epoch_ || (frame.epoch == epoch_ && state_ == ExchangeState::complete);
  if (has_completed) {
    answer.flags = kAnswerComplete;
    if (inbox(frame.epoch).epoch == frame.epoch) {
      const Inbox& box = inbox(frame.epoch);
      answer.word = box.word;
      answer.payload = std::span(box.vector).first(box.length);
    }
    out.push_back({from, answer});
    return;
  }
  // The lowest node that asks decides; a higher one gives its own question up.
  if (is_asking() && census_.epoch == frame.epoch && from < setup_.self) census_ = Census{};
  if (frozen_epoch_ != frame.epoch || from < frozen_by_) frozen_by_ = from;
  frozen_epoch_ = frame.epoch;
  frozen_until_ = after(now, 3 * setup_.grace);

  const LocalView view = local_.local_view(frame.epoch);
  bool truncated = false;
  scratch_ = encode_ranges(view.missing, kPayloadMax / 2, truncated);
  answer.step = static_cast<std::uint16_t>(scratch_.size());
  if (truncated) answer.flags = kTruncated;
  answer.signature = view.signature;
  for (std::size_t i = 0; i < view.site.size() && scratch_.size() < kPayloadMax; ++i) {
    scratch_.push_back(static_cast<std::byte>(view.site[i]));
  }
  answer.payload = scratch_;
  out.push_back({from, answer});
}

void Exchange::on_answer(NodeIndex from, const Frame& frame, Output& out) {
  if (!is_asking() || frame.epoch != census_.epoch || census_.answered[from]) return;
  if ((frame.flags & kAnswerComplete) != 0) {
    adopt_result(frame, out);
    return;
  }
  if (frame.step > frame.payload.size()) return;  // malformed: as if it had not come
  auto missing = decode_ranges(frame.payload.first(frame.step));
  if (!missing) return;
  LocalView view;
  view.missing = std::move(*missing);
  view.signature = frame.signature;
  for (const std::byte b : frame.payload.subspan(frame.step)) view.site += static_cast<char>(b);
  add_view(from, view);
  if (census_.answers == setup_.members.size()) decide(out);
}

void Exchange::adopt_result(const Frame& answer, Output& out) {
  const Epoch epoch = census_.epoch;
  census_ = Census{};
  // Somebody completed, so everybody has entered, and this node did as well: nothing is missing
  // but facts, and the answer holds what all of them add up to.
  if (epoch == epoch_ && state_ == ExchangeState::open) {
    combine(epoch, answer.word, answer.payload);
    for (Wait& wait : waits_) wait.heard = std::max(wait.heard, epoch);
    advance(out);
  }
  send_all(make(FrameType::resume, epoch), out);
}

void Exchange::decide(Output& out) {
  Census census = std::move(census_);
  census_ = Census{};
  if (!census.is_mismatch && census.missing.empty()) {
    send_all(make(FrameType::resume, census.epoch), out);
    thaw(out);
    return;
  }
  Verdict verdict;
  verdict.cause = census.is_mismatch ? LOCKSTEP_E_MISMATCH
                  : census.has_lost  ? LOCKSTEP_E_LOST
                                     : LOCKSTEP_E_DEADLINE;
  verdict.epoch = census.epoch;
  // In a mismatch nobody is missing: everybody came, but not to the same place.
  if (!census.is_mismatch) verdict.missing = std::move(census.missing);
  verdict.text = std::move(census.text);
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
  if (frozen_epoch_ != frame.epoch || frozen_by_ != from) return;
  thaw(out);
}

void Exchange::thaw(Output& out) {
  frozen_epoch_ = 0;
  advance(out);
}

void Exchange::on_broken(const Frame& frame) {
  if (state_ == ExchangeState::broken) return;
  auto verdict = decode_verdict(frame.payload);
  if (!verdict) return;
  const bool has_completed =
      frame.epoch < epoch_ || (frame.epoch == epoch_ && state_ == ExchangeState::complete);
  if (has_completed || verdict->epoch != frame.epoch) return;
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
  } else if (state_ == ExchangeState::open) {
    ask(epoch_, now, out);
  }
}

void Exchange::tick(Nanos now, Output& out) {
  if (is_asking() && now >= census_.until) {
    for (NodeIndex node = 0; node < setup_.members.size(); ++node) {
      add_silent(node, "does not answer");
    }
    decide(out);
  }
  if (frozen_epoch_ != 0 && now >= frozen_until_) {
    const Epoch epoch = frozen_epoch_;
    frozen_epoch_ = 0;
    if (epoch == epoch_ && state_ == ExchangeState::open) ask(epoch, now, out);
  }
}

}  // namespace lockstep::engine
