// Asking all, naming the poll, telling all.
#include "runtime/engine/poll_agreement.hpp"

#include <algorithm>

namespace lockstep::engine {
namespace {

/// When something is said again that was not answered. Frames are lost only with who sends them or
/// is to get them, so this is for those who come after.
constexpr Nanos kAgain = 50 * kMillisecond;

Ballot ballot_of(const Frame& frame) {
  return {frame.site, frame.signature};
}

}  // namespace

NodeIndex PollAgreement::coordinator(Nanos now) const {
  NodeIndex node = 0;
  while (node != setup_.self && presence_.is_given_up(node, now)) ++node;
  return node;
}

Frame PollAgreement::make(FrameType type, std::uint64_t number, Ballot ballot,
                          std::uint64_t word) const {
  Frame frame;
  frame.type = type;
  frame.group = setup_.group;
  frame.epoch = number;
  frame.word = word;
  frame.sender = setup_.rank;
  frame.site = ballot.count;
  frame.signature = ballot.node;
  return frame;
}

void PollAgreement::tick(Nanos now, Output& out) {
  const NodeIndex to = coordinator(now);
  if (to == setup_.self) {
    is_waiting_ = false;
    const bool is_wanted = store_.wants() || raised_ == store_.agreement() + 1;
    const bool is_overtaken =
        round_ && round_->number > store_.agreement() && store_.promise() > round_->ballot;
    if (is_overtaken) round_.reset();
    if (!round_ && (is_wanted || is_overtaken)) start(now, out);
    if (!round_) return;
    advance(now, out);
    if (round_ && now >= round_->again_at) round_->is_telling ? tell(now, out) : ask(now, out);
    return;
  }
  round_.reset();
  is_waiting_ = store_.wants();
  const std::uint64_t wanted = store_.agreement() + 1;
  if (!is_waiting_ || (wanted == asked_for_ && now < ask_again_at_)) return;
  asked_for_ = wanted;
  ask_again_at_ = after(now, kAgain);
  if (!presence_.is_there(to)) return;
  out.push_back({to, make(FrameType::poll_raise, wanted, {}, 0)});
}

/// A coordinator that comes after another one does not know who has heard of the last agreement.
void PollAgreement::start(Nanos now, Output& out) {
  Round round;
  round.number = store_.agreement() + 1;
  round.ballot = {store_.promise().count + 1, setup_.self};
  store_.promise(round.ballot);
  if (confirmed_ < store_.agreement()) {
    round.number = store_.agreement();
    round.fire = store_.fire();
    round.is_telling = true;
    round_ = std::move(round);
    hear_nobody_but_me();
    tell(now, out);
  } else {
    round.furthest = store_.hold(round.number);
    round_ = std::move(round);
    hear_nobody_but_me();
    ask(now, out);
  }
  advance(now, out);
}

void PollAgreement::hear_nobody_but_me() {
  round_->heard.assign(setup_.nodes, false);
  round_->heard[setup_.self] = true;
}

/// This node is bound to a higher ballot.
void PollAgreement::refuse(NodeIndex to, const Frame& frame, Output& out) const {
  Frame answer =
      make(FrameType::poll_held, frame.epoch, ballot_of(frame), store_.promise().packed());
  answer.flags = kHeldOutdated;
  out.push_back({to, answer});
}

void PollAgreement::post_unheard(const Frame& frame, Output& out) const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (!round_->heard[node] && presence_.is_there(node)) out.push_back({node, frame});
  }
}

void PollAgreement::ask(Nanos now, Output& out) {
  round_->again_at = after(now, kAgain);
  post_unheard(make(FrameType::poll_hold, round_->number, round_->ballot, 0), out);
}

void PollAgreement::tell(Nanos now, Output& out) {
  round_->again_at = after(now, kAgain);
  post_unheard(make(FrameType::poll_commit, round_->number, round_->ballot, *round_->fire), out);
}

bool PollAgreement::has_all(Nanos now) const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (!round_->heard[node] && !presence_.is_given_up(node, now)) return false;
  }
  return true;
}

bool PollAgreement::has_another() const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (node != setup_.self && round_->heard[node]) return true;
  }
  return false;
}

void PollAgreement::advance(Nanos now, Output& out) {
  // Another coordinator was quicker, before it went.
  if (round_->number < store_.agreement() ||
      (round_->number == store_.agreement() && !round_->is_telling)) {
    round_.reset();
    return;
  }
  if (!round_->is_telling) {
    if (!has_all(now)) return;
    if (!round_->fire) round_->fire = round_->furthest + 1;
    round_->is_telling = true;
    hear_nobody_but_me();
    tell(now, out);
  }
  const bool is_known_elsewhere = has_another() || has_all(now);
  if (is_known_elsewhere && round_->number > store_.agreement()) {
    store_.commit(round_->number, *round_->fire);
  }
  if (!has_all(now)) return;
  confirmed_ = round_->number;
  round_.reset();
}

void PollAgreement::receive(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  switch (frame.type) {
    case FrameType::poll_raise:
      raised_ = std::max(raised_, frame.epoch);
      if (frame.epoch <= store_.agreement()) {  // it lacks the last one, or has had it meanwhile
        out.push_back({from, make(FrameType::poll_commit, store_.agreement(), store_.promise(),
                                  store_.fire())});
      }
      tick(now, out);
      break;
    case FrameType::poll_hold:
      on_hold(from, frame, out);
      break;
    case FrameType::poll_held:
      on_held(from, frame, now, out);
      break;
    case FrameType::poll_commit:
      on_commit(from, frame, out);
      break;
    case FrameType::poll_receipt:
      if (!round_ || !round_->is_telling || frame.epoch != round_->number) break;
      round_->heard[from] = true;
      advance(now, out);
      break;
    default:
      break;
  }
}

void PollAgreement::on_hold(NodeIndex from, const Frame& frame, Output& out) {
  Frame answer = make(FrameType::poll_held, frame.epoch, ballot_of(frame), 0);
  if (frame.epoch == store_.agreement()) {
    answer.flags = kHeldCommitted;
    answer.word = store_.fire();
  } else if (frame.epoch != store_.agreement() + 1) {
    return;
  } else if (ballot_of(frame) < store_.promise()) {
    return refuse(from, frame, out);
  } else {
    store_.promise(ballot_of(frame));
    answer.word = store_.hold(frame.epoch);
  }
  out.push_back({from, answer});
}

void PollAgreement::on_held(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  const bool is_outdated = (frame.flags & kHeldOutdated) != 0;
  if (const Ballot higher = Ballot::unpacked(frame.word);
      is_outdated && higher > store_.promise()) {
    store_.promise(higher);
  }
  if (!round_ || frame.epoch != round_->number || ballot_of(frame) != round_->ballot) return;
  if (is_outdated) {
    round_.reset();
    start(now, out);
    return;
  }
  if (round_->is_telling) return;
  if ((frame.flags & kHeldCommitted) != 0) {
    round_->fire = frame.word;
  } else {
    round_->furthest = std::max(round_->furthest, frame.word);
  }
  round_->heard[from] = true;
  advance(now, out);
}

void PollAgreement::on_commit(NodeIndex from, const Frame& frame, Output& out) {
  if (frame.epoch > store_.agreement() + 1) return;
  if (frame.epoch == store_.agreement() + 1) {
    if (ballot_of(frame) < store_.promise()) return refuse(from, frame, out);
    store_.promise(ballot_of(frame));
    store_.commit(frame.epoch, frame.word);
  }
  out.push_back({from, make(FrameType::poll_receipt, frame.epoch, ballot_of(frame), 0)});
}

}  // namespace lockstep::engine
