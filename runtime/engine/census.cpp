// The other course of a round: somebody waits too long, asks everybody, and one verdict is reached.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "runtime/engine/exchange.hpp"

namespace lockstep::engine {

void Exchange::ask(Epoch epoch, Nanos now, Output& out) {
  if (state_ == ExchangeState::broken || is_asking()) return;
  if (epoch <= epoch_ && state_ != ExchangeState::open) return;  // completed meanwhile
  if (freeze(epoch).epoch == epoch && now < freeze(epoch).until)
    return;  // somebody else is deciding
  census_ = Census{};
  census_.epoch = epoch;
  census_.until = after(now, setup_.grace);
  census_.answered.assign(setup_.members.size(), false);
  add_view(setup_.self, local_.local_view(epoch));
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    if (lost_[node]) add_silent(node, "has left or cannot be reached");
  }
  Frame question = make(FrameType::ask, epoch);
  question.site = ++question_;
  send_all(question, out);
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
  answer.site = frame.site;
  const bool has_completed = frame.epoch <= completed_;
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
  // Whoever asks about the next epoch has completed this one, and has its result.
  if (state_ == ExchangeState::open && frame.epoch == epoch_ + 1) ask(epoch_, now, out);
}

void Exchange::on_answer(NodeIndex from, const Frame& frame, Output& out) {
  if (!is_asking() || frame.epoch != census_.epoch || frame.site != question_ ||
      census_.answered[from])
    return;
  if ((frame.flags & kTruncated) != 0) census_.is_truncated = true;
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
    for (Wait& wait : waits_) wait.heard[epoch & 1] = {epoch, signature_};
    if (freeze(epoch).epoch == epoch) freeze(epoch).epoch = 0;
    advance(out);
  }
  send_all(make(FrameType::resume, epoch), out);
}

void Exchange::decide(Output& out) {
  Census census = std::move(census_);
  census_ = Census{};
  if (!census.is_mismatch && census.missing.empty()) {
    send_all(make(FrameType::resume, census.epoch), out);
    thaw(census.epoch, out);
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
  if (freeze(frame.epoch).epoch != frame.epoch || freeze(frame.epoch).by != from) return;
  thaw(frame.epoch, out);
}

void Exchange::thaw(Epoch epoch, Output& out) {
  freeze(epoch).epoch = 0;
  if (state_ == ExchangeState::open) {
    for (std::size_t i = 0; i < cursor_; ++i) {
      const schedule::Step& step = setup_.plan[i];
      if (step.kind != schedule::StepKind::send) continue;
      Frame fact = make(FrameType::fact, epoch_);
      fact.step = step.round;
      fact.word = inbox(epoch_).word;
      fact.payload = vector();
      out.push_back({step.peer, fact});
    }
  }
  advance(out);
}

void Exchange::on_broken(const Frame& frame, Nanos now, Output& out) {
  if (state_ == ExchangeState::broken) return;
  auto verdict = decode_verdict(frame.payload);
  if (!verdict) return;
  if (frame.epoch <= completed_ || verdict->epoch != frame.epoch) return;
  if (state_ == ExchangeState::open && frame.epoch > epoch_) {
    next_verdict_ = std::move(*verdict);
    ask(epoch_, now, out);
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
  } else if (state_ == ExchangeState::open) {
    ask(epoch_, now, out);
  }
}

void Exchange::tick(Nanos now, Output& out) {
  notice(now, out);
  if (is_asking() && now >= census_.until) {
    for (NodeIndex node = 0; node < setup_.members.size(); ++node) {
      add_silent(node, "does not answer");
    }
    decide(out);
  }
  for (Freeze& frozen : freezes_) {
    if (frozen.epoch == 0 || now < frozen.until) continue;
    const Epoch epoch = std::exchange(frozen.epoch, 0);
    if (epoch == epoch_ && state_ == ExchangeState::open) ask(epoch, now, out);
  }
}

}  // namespace lockstep::engine
