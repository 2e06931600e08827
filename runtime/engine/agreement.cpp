// Asking all, putting their parts together, telling all.
#include "runtime/engine/agreement.hpp"

#include <algorithm>
#include <utility>

namespace lockstep::engine {
namespace {

/// When something is said again that was not answered. Frames are lost only with who sends them or
/// is to get them, so this is for those who come after.
constexpr Nanos kAgain = 50 * kMillisecond;

Ballot ballot_of(const Frame& frame) {
  return {frame.site, frame.signature};
}

AgreementValue value_of(const Frame& frame) {
  return {frame.word, {frame.payload.begin(), frame.payload.end()}};
}

}  // namespace

std::optional<NodeIndex> Agreement::coordinator(Nanos now) const {
  // Those who are in a hurry wait for a silent one as long as it may take to ask and to tell, and
  // as much longer for those that come after it.
  const auto is_silent = [&](NodeIndex node) {
    const Nanos since = node == asked_by_ ? std::max(hurried_since_, asked_at_) : hurried_since_;
    return node != setup_.self && is_hurried(next()) &&
           now - since >= (2 * node + 2) * setup_.grace;
  };
  for (NodeIndex node = 0; node <= setup_.self; ++node) {
    if (presence_.can_coordinate(node, now) && !is_silent(node)) return node;
  }
  return std::nullopt;
}

void Agreement::hurry(std::uint64_t number, Nanos now) {
  if (is_hurried(number)) return;
  hurried_ = number;
  hurried_since_ = now;
}

Frame Agreement::make(Says what, std::uint64_t number, Ballot ballot) const {
  Frame frame;
  frame.type = type_of(what);
  frame.group = setup_.group;
  frame.epoch = number;
  frame.sender = setup_.rank;
  frame.site = ballot.count;
  frame.signature = ballot.node;
  if ((what == Says::raise || what == Says::hold) && is_hurried(number)) frame.flags = kAtOnce;
  return frame;
}

Frame Agreement::make(Says what, std::uint64_t number, Ballot ballot, Value value) {
  const Value& kept = sent_.emplace_back(std::move(value));
  Frame frame = make(what, number, ballot);
  frame.word = kept.word;
  frame.payload = kept.bytes;
  return frame;
}

void Agreement::tick(Nanos now, Output& out) {
  sent_.clear();
  turn(now, out);
}

void Agreement::turn(Nanos now, Output& out) {
  const AgreementStore::Wish wish = store_.wants();
  if (wish == AgreementStore::Wish::at_once) hurry(next(), now);
  if (question_) answer(*question_, out);
  const std::optional<NodeIndex> to = coordinator(now);
  if (to == setup_.self) {
    is_waiting_ = false;
    const bool is_wanted = wish != AgreementStore::Wish::none || raised_ == next();
    const bool is_overtaken =
        round_ && round_->number > store_.agreement() && store_.promise() > round_->ballot;
    if (is_overtaken) give_way();
    if (!round_ && (is_wanted || is_outbid_)) start(now, out);
    if (!round_) return;
    advance(now, out);
    if (round_ && now >= round_->again_at) round_->is_telling ? tell(now, out) : ask(now, out);
    return;
  }
  round_.reset();
  is_outbid_ = false;
  is_waiting_ = wish != AgreementStore::Wish::none;
  if (!is_waiting_ || (next() == asked_for_ && now < ask_again_at_)) return;
  asked_for_ = next();
  ask_again_at_ = after(now, kAgain);
  // Without a coordinator, somebody who may have heard from one.
  NodeIndex asked = to.value_or(0);
  while (!to && asked + 1 < setup_.nodes && !presence_.is_there(asked)) ++asked;
  if (asked == setup_.self || !presence_.is_there(asked)) return;
  out.push_back({asked, make(Says::raise, next(), {})});
}

/// Another coordinator is at work, or was: this one tries again, but two do not outbid each other
/// for ever, and the lower one is quicker.
void Agreement::give_way() {
  round_.reset();
  is_outbid_ = true;
}

/// A coordinator that comes after another one does not know who has heard of the last agreement.
void Agreement::start(Nanos now, Output& out) {
  if (is_outbid_) {
    if (now < outbid_again_at_) return;
    outbid_again_at_ = after(now, (setup_.self + 1) * kAgain);
  }
  is_outbid_ = false;
  Round round;
  round.number = next();
  round.ballot = {store_.promise().count + 1, setup_.self};
  store_.promise(round.ballot);
  if (confirmed_ < store_.agreement()) {
    round.number = store_.agreement();
    round.result = store_.agreed();
    round.is_telling = true;
  }
  round_ = std::move(round);
  begin(now);
  round_->is_telling ? tell(now, out) : ask(now, out);
  advance(now, out);
}

void Agreement::begin(Nanos now) {
  round_->since = now;
  round_->heard.assign(setup_.nodes, false);
  if (round_->is_telling) round_->heard[setup_.self] = true;
}

void Agreement::hear_own() {
  if (round_->is_telling || round_->heard[setup_.self]) return;
  const auto part = store_.hold(round_->number, is_hurried(round_->number));
  if (!part) return;
  store_.add(round_->sum, *part);
  round_->heard[setup_.self] = true;
}

/// This node is bound to a higher ballot.
void Agreement::refuse(NodeIndex to, const Frame& frame, Output& out) const {
  Frame answer = make(Says::held, frame.epoch, ballot_of(frame));
  answer.word = store_.promise().packed();
  answer.flags = kHeldOutdated;
  out.push_back({to, answer});
}

void Agreement::post_unheard(const Frame& frame, Output& out) const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    const bool is_other = node != setup_.self && !round_->heard[node];
    if (is_other && presence_.is_there(node)) out.push_back({node, frame});
  }
}

void Agreement::ask(Nanos now, Output& out) {
  round_->again_at = after(now, kAgain);
  post_unheard(make(Says::hold, round_->number, round_->ballot), out);
}

void Agreement::tell(Nanos now, Output& out) {
  round_->again_at = after(now, kAgain);
  post_unheard(make(Says::commit, round_->number, round_->ballot, *round_->result), out);
}

/// It has answered, or no answer is waited for any more.
bool Agreement::is_done_with(NodeIndex node, Nanos now) const {
  if (round_->heard[node]) return true;
  if (node == setup_.self) return false;
  const bool has_waited =
      is_hurried(round_->number) && now - std::max(hurried_since_, round_->since) >= setup_.grace;
  return (has_waited && (round_->is_telling || has_anchor())) || presence_.is_given_up(node, now);
}

/// Without one, a silent node may be one that looks for this one in vain, and does the same.
bool Agreement::has_anchor() const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (round_->heard[node] && presence_.is_anchor(node)) return true;
  }
  return false;
}

/// Who is not there asks when it is.
bool Agreement::has_told_all(Nanos now) const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (presence_.is_there(node) && !is_done_with(node, now)) return false;
  }
  return true;
}

bool Agreement::has_all(Nanos now) const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (!is_done_with(node, now)) return false;
  }
  return true;
}

bool Agreement::has_another() const {
  for (NodeIndex node = 0; node < setup_.nodes; ++node) {
    if (node != setup_.self && round_->heard[node]) return true;
  }
  return false;
}

void Agreement::advance(Nanos now, Output& out) {
  // Another coordinator was quicker, before it went.
  if (round_->number < store_.agreement() ||
      (round_->number == store_.agreement() && !round_->is_telling)) {
    round_.reset();
    return;
  }
  hear_own();
  if (!round_->is_telling) {
    if (!has_all(now)) return;
    for (NodeIndex node = 0; node < setup_.nodes; ++node) {
      if (!round_->heard[node]) store_.leave_out(round_->sum, node);
    }
    if (!round_->result) round_->result = store_.conclude(std::move(round_->sum));
    round_->is_telling = true;
    begin(now);
    tell(now, out);
  }
  const bool is_known_elsewhere = has_another() || has_all(now);
  if (is_known_elsewhere && round_->number > store_.agreement()) {
    store_.commit(round_->number, *round_->result);
  }
  if (round_->number > store_.agreement() || !has_told_all(now)) return;
  confirmed_ = round_->number;
  round_.reset();
}

void Agreement::receive(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  sent_.clear();
  if (!is_for(frame.type)) return;
  switch (static_cast<Says>(static_cast<std::uint8_t>(frame.type) -
                            static_cast<std::uint8_t>(setup_.first))) {
    case Says::raise:
      on_raise(from, frame, now, out);
      break;
    case Says::hold:
      on_hold(from, frame, now, out);
      break;
    case Says::held:
      on_held(from, frame, now, out);
      break;
    case Says::commit:
      on_commit(from, frame, out);
      break;
    case Says::receipt:
      if (!round_ || !round_->is_telling || frame.epoch != round_->number) break;
      round_->heard[from] = true;
      advance(now, out);
      break;
  }
}

void Agreement::on_raise(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  raised_ = std::max(raised_, frame.epoch);
  if ((frame.flags & kAtOnce) != 0 && frame.epoch == next()) hurry(next(), now);
  if (frame.epoch <= store_.agreement()) {  // it lacks the last one, or has had it meanwhile
    out.push_back(
        {from, make(Says::commit, store_.agreement(), store_.promise(), store_.agreed())});
  }
  turn(now, out);
}

void Agreement::on_hold(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  if (frame.epoch == store_.agreement()) {
    Frame answer = make(Says::held, frame.epoch, ballot_of(frame), store_.agreed());
    answer.flags = kHeldCommitted;
    out.push_back({from, answer});
    return;
  }
  if (frame.epoch > next()) {  // this node was not there when the last one was told
    out.push_back({from, make(Says::raise, next(), {})});
    return;
  }
  if (frame.epoch != next()) return;
  if (ballot_of(frame) < store_.promise()) return refuse(from, frame, out);
  store_.promise(ballot_of(frame));
  asked_by_ = from;
  asked_at_ = now;
  if ((frame.flags & kAtOnce) != 0) hurry(next(), now);
  question_ = Question{from, frame.epoch, ballot_of(frame)};
  answer(*question_, out);
}

void Agreement::answer(const Question& question, Output& out) {
  const bool is_due = question.number == next() && question.ballot == store_.promise();
  const auto part =
      is_due ? store_.hold(question.number, is_hurried(question.number)) : std::nullopt;
  if (part) {
    out.push_back({question.from, make(Says::held, question.number, question.ballot, *part)});
  }
  if (part || !is_due) question_.reset();
}

void Agreement::on_held(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  const bool is_outdated = (frame.flags & kHeldOutdated) != 0;
  if (const Ballot higher = Ballot::unpacked(frame.word);
      is_outdated && higher > store_.promise()) {
    store_.promise(higher);
  }
  if (!round_ || frame.epoch != round_->number || ballot_of(frame) != round_->ballot) return;
  if (is_outdated) {
    give_way();
    start(now, out);
    return;
  }
  if (round_->is_telling || round_->heard[from]) return;
  if ((frame.flags & kHeldCommitted) != 0) {
    round_->result = value_of(frame);
  } else {
    store_.add(round_->sum, value_of(frame));
  }
  round_->heard[from] = true;
  advance(now, out);
}

void Agreement::on_commit(NodeIndex from, const Frame& frame, Output& out) {
  if (frame.epoch > next()) return;
  if (frame.epoch == next()) {
    if (ballot_of(frame) < store_.promise()) return refuse(from, frame, out);
    store_.promise(ballot_of(frame));
    store_.commit(frame.epoch, value_of(frame));
  } else if (frame.epoch == store_.agreement() && value_of(frame) != store_.agreed()) {
    // Who stood still meanwhile may have decided otherwise, and nobody has it yet.
    out.push_back({from, make(Says::commit, frame.epoch, store_.promise(), store_.agreed())});
    return;
  }
  out.push_back({from, make(Says::receipt, frame.epoch, ballot_of(frame))});
}

}  // namespace lockstep::engine
