// Records down a tree, questions to whoever may know, and the decision when the first is gone.
#include "runtime/engine/outcomes.hpp"

#include <algorithm>
#include <utility>

namespace lockstep::engine {
namespace {

constexpr std::uint32_t kRadix = 8;  ///< nodes that one node passes a record on to
constexpr Nanos kFirstQuery = kSecond;
constexpr Nanos kPauseMax = 30 * kSecond;
constexpr std::size_t kEarlyMax = 64;

std::string_view text_of(const Frame& frame) {
  return {reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size()};
}

}  // namespace

Outcomes::Outcomes(Setup setup, OutcomeStore& store)
    : setup_(std::move(setup)),
      store_(store),
      lost_(setup_.speakers.size()),
      successions_(setup_.speakers.size(), 0),
      has_more_(setup_.speakers.size(), false) {
  std::vector<bool> has_one(lost_.size(), false);
  for (const NodeIndex node : setup_.node_of) {
    has_more_[node] = has_one[node];
    has_one[node] = true;
  }
  for (const Newcomer& newcomer : setup_.newcomers) {
    if (newcomer.node != setup_.self) welcomed_[newcomer.node] = newcomer;
  }
}

Frame Outcomes::make(FrameType type, Attempt attempt) const noexcept {
  Frame frame;
  frame.type = type;
  frame.group = setup_.group;
  frame.epoch = attempt.section;
  frame.step = static_cast<std::uint16_t>(attempt.number);
  frame.sender = setup_.speakers[setup_.self];
  frame.site = setup_.self;
  return frame;
}

std::span<const std::byte> Outcomes::hold(std::string_view payload) {
  return std::as_bytes(std::span(payloads_.emplace_back(payload.substr(0, kPayloadMax))));
}

void Outcomes::post(NodeIndex node, FrameType type, Attempt attempt, std::uint16_t flags,
                    std::string_view payload, Output& out) {
  Frame frame = make(type, attempt);
  frame.flags = flags;
  if (!payload.empty()) frame.payload = hold(payload);
  out.push_back({node, frame});
}

void Outcomes::post_all(FrameType type, Attempt attempt, std::uint16_t flags,
                        std::string_view payload, Output& out) {
  Frame frame = make(type, attempt);
  frame.flags = flags;
  if (!payload.empty()) frame.payload = hold(payload);
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    if (node != setup_.self && !lost_[node].is_lost) out.push_back({node, frame});
  }
}

/// To the nodes below `from` in the tree that grows from `root`; a lost one is passed over, to
/// those below it.
void Outcomes::send_down(NodeIndex root, NodeIndex from, const Frame& frame, Output& out) {
  const auto count = static_cast<std::uint64_t>(lost_.size());
  const std::uint64_t place = (from + count - root) % count;
  const std::uint64_t last = std::min(count, place * kRadix + kRadix + 1);
  for (std::uint64_t child = place * kRadix + 1; child < last; ++child) {
    const auto node = static_cast<NodeIndex>((child + root) % count);
    if (lost_[node].is_lost) {
      send_down(root, node, frame, out);
    } else {
      out.push_back({node, frame});
    }
  }
}

std::optional<NodeIndex> Outcomes::node_of(Rank speaker) const noexcept {
  // Not in order any more once one has had a successor.
  const auto found = std::find(setup_.speakers.begin(), setup_.speakers.end(), speaker);
  if (found == setup_.speakers.end()) return std::nullopt;
  return static_cast<NodeIndex>(found - setup_.speakers.begin());
}

NodeIndex Outcomes::lowest() const noexcept {
  NodeIndex node = 0;
  while (node != setup_.self && lost_[node].is_lost) ++node;
  return node;
}

std::optional<NodeIndex> Outcomes::another(NodeIndex after) const noexcept {
  const auto count = static_cast<NodeIndex>(lost_.size());
  for (NodeIndex i = 1; i <= count; ++i) {
    const NodeIndex node = (after + i) % count;
    if (node != setup_.self && !lost_[node].is_lost) return node;
  }
  return std::nullopt;
}

/// The lowest other node whose speaker has been there all the time.
std::optional<NodeIndex> Outcomes::anchor() const noexcept {
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    if (node != setup_.self && !lost_[node].is_lost && !welcomed_.contains(node)) return node;
  }
  return std::nullopt;
}

/// It is lost, and nobody there will say hello.
bool Outcomes::is_given_up(NodeIndex node, Nanos now) const noexcept {
  return lost_[node].is_lost && (!has_more_[node] || now >= after(lost_[node].since, setup_.grace));
}

/// The first's node is lost, and the first spoke for it, or nobody there has said hello since.
bool Outcomes::is_known_dead(Attempt attempt, Nanos now) const {
  const Loss& loss = lost_[setup_.node_of[attempt.number]];
  return loss.is_lost && (loss.speaker == setup_.members[attempt.number] ||
                          is_given_up(setup_.node_of[attempt.number], now));
}

bool Outcomes::is_promised(Attempt attempt, Nanos now) const {
  const auto found = promises_.find(attempt);
  return found != promises_.end() && now < found->second.until;
}

void Outcomes::forget(Attempt attempt) {
  inquiries_.erase(attempt);
  questions_.erase(attempt);
  promises_.erase(attempt);
  unconfirmed_.erase(attempt);
  if (wanted_turn_.attempt == attempt) wanted_turn_ = {};
}

void Outcomes::publish(Attempt attempt, std::string_view record, Nanos now, Output& out) {
  payloads_.clear();
  spread(attempt, record, now, out);
}

void Outcomes::spread(Attempt attempt, std::string_view record, Nanos now, Output& out) {
  if (!another(setup_.self)) {
    store_.release(attempt);
    return;
  }
  unconfirmed_[attempt] = {std::string(record), setup_.self, after(now, setup_.grace / 2)};
  if (const auto node = anchor(); node && setup_.is_successor) {
    // It may have been decided otherwise meanwhile; those who have been there know.
    post(*node, FrameType::outcome, attempt, kWantsReceipt, record, out);
    return;
  }
  Frame frame = make(FrameType::outcome, attempt);
  frame.flags = kWantsReceipt;
  frame.payload = hold(record);
  send_down(setup_.self, setup_.self, frame, out);
}

void Outcomes::inquire(Attempt attempt, bool is_gone, std::string_view if_dead, Nanos now,
                       Output& out) {
  payloads_.clear();
  if (attempt.number >= setup_.members.size()) return;
  if (const auto kept = store_.find(attempt)) {
    // Its first has died before it could hand it over, or the speaker of then has.
    if (kept->is_released || unconfirmed_.contains(kept->attempt)) return;
    spread(kept->attempt, kept->record, now, out);
    return;
  }
  const NodeIndex first_at = setup_.node_of[attempt.number];
  const auto [found, is_new] = inquiries_.try_emplace(attempt);
  Inquiry& inquiry = found->second;
  if (is_new) {
    inquiry.pause = kFirstQuery;
    inquiry.next_at = after(now, kFirstQuery);
    inquiry.asked = first_at;
  }
  if (is_gone || is_known_dead(attempt, now)) {
    const NodeIndex decider = lowest();
    if (decider == setup_.self) {
      start_question(attempt, if_dead, now, out);
    } else if (inquiry.decider != decider || now >= inquiry.decider_until) {
      inquiry.decider = decider;
      inquiry.decider_until = after(now, setup_.grace);
      post(decider, FrameType::outcome_ask, attempt, kFirstIsGone, if_dead, out);
    }
    return;
  }
  if (now < inquiry.next_at || first_at == setup_.self) return;
  inquiry.next_at = after(now, inquiry.pause);
  inquiry.pause = std::min(2 * inquiry.pause, kPauseMax);
  // Its own node knows best; every other time one of the others, in turn.
  NodeIndex asked = first_at;
  if (lost_[first_at].is_lost || inquiry.asked_first) {
    asked = another(inquiry.asked).value_or(setup_.self);
    inquiry.asked = asked;
  }
  inquiry.asked_first = asked == first_at;
  if (asked != setup_.self) {
    post(asked, FrameType::outcome_ask, attempt, 0, if_dead, out);
  }
}

void Outcomes::take_turn(Attempt attempt, Nanos now, Output& out) {
  payloads_.clear();
  wanted_turn_ = {attempt, setup_.self, now};
  ask_for_turn(now, out);
}

/// The lowest node decides, so it is the one to know; then the others in turn.
void Outcomes::ask_for_turn(Nanos now, Output& out) {
  const auto asked =
      another(wanted_turn_.asked == setup_.self ? static_cast<NodeIndex>(lost_.size() - 1)
                                                : wanted_turn_.asked);
  if (!asked) {
    turn_ = std::exchange(wanted_turn_, {}).attempt;
    return;
  }
  wanted_turn_.asked = *asked;
  wanted_turn_.ask_again_at = after(now, setup_.grace / 4);
  post(*asked, FrameType::outcome_ask, wanted_turn_.attempt, kTakesTurn, {}, out);
}

void Outcomes::start_question(Attempt attempt, std::string_view if_dead, Nanos now, Output& out) {
  if (questions_.contains(attempt)) return;
  const auto promise = promises_.find(attempt);
  if (is_promised(attempt, now) && promise->second.by < setup_.self) return;
  promises_.erase(attempt);
  Question& question = questions_[attempt];
  question.if_dead = if_dead;
  question.answered.assign(lost_.size(), false);
  question.until = after(now, setup_.grace);
  question.ask_again_at = after(now, setup_.grace / 4);
  post_all(FrameType::outcome_ask, attempt, kDecides, {}, out);
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    // The last one may decide, and that ends the question.
    if (node == setup_.self || is_given_up(node, now)) count_answer(attempt, node, out);
  }
}

void Outcomes::count_answer(Attempt attempt, NodeIndex from, Output& out) {
  const auto found = questions_.find(attempt);
  if (found == questions_.end() || found->second.answered[from]) return;
  Question& question = found->second;
  question.answered[from] = true;
  if (++question.answers == lost_.size()) decide(attempt, attempt, question.if_dead, out);
}

void Outcomes::decide(Attempt question, Attempt found, std::string_view record, Output& out) {
  const std::string kept(record);  // may be a part of what is forgotten
  forget(question);
  forget(found);
  store_.keep(found, kept, true);
  post_all(FrameType::outcome, found, kDecided, kept, out);
}

bool Outcomes::receive(const Frame& frame, Nanos now, Output& out) {
  payloads_.clear();
  if (frame.type == FrameType::hello) {
    on_hello(frame);
    return true;
  }
  const auto from = node_of(frame.sender);
  if (from && *from != setup_.self) return dispatch(*from, frame, now, out);
  const bool is_member =
      std::binary_search(setup_.members.begin(), setup_.members.end(), frame.sender);
  if (from || !is_member) return false;
  if (early_.size() < kEarlyMax) {
    early_.push_back({frame, std::string(text_of(frame))});
    early_.back().frame.payload = {};
  }
  return true;
}

bool Outcomes::dispatch(NodeIndex from, const Frame& frame, Nanos now, Output& out) {
  const Attempt attempt{frame.epoch, frame.step};
  if (attempt.number >= setup_.members.size()) return false;
  switch (frame.type) {
    case FrameType::outcome:
      on_outcome(from, attempt, frame, now, out);
      return true;
    case FrameType::outcome_ask:
      on_ask(from, attempt, frame, now, out);
      return true;
    case FrameType::outcome_answer:
      on_answer(from, attempt, frame, out);
      return true;
    default:
      return false;
  }
}

/// To whoever decides: the frame's attempt is that of the record, its word that of the question.
void Outcomes::answer(NodeIndex to, Attempt question, std::uint16_t flags,
                      const OutcomeStore::Kept& kept, Output& out) {
  post(to, FrameType::outcome_answer, kept.attempt, flags, kept.record, out);
  out.back().frame.word = question.number;
}

void Outcomes::on_ask(NodeIndex from, Attempt attempt, const Frame& frame, Nanos now, Output& out) {
  const bool decides = (frame.flags & kDecides) != 0;
  if (const auto kept = store_.find(attempt)) {
    if (decides) {
      answer(from, attempt, kHasRecord, *kept, out);
    } else {
      post(from, FrameType::outcome, kept->attempt, 0, kept->record, out);
    }
    return;
  }
  if ((frame.flags & kTakesTurn) != 0) {
    questions_.erase(attempt);
    post(from, FrameType::outcome_answer, attempt, kGoAhead, {}, out);
    return;
  }
  const bool is_here = setup_.node_of[attempt.number] == setup_.self;
  const bool is_alive = is_here && store_.is_alive(attempt.number);
  if (decides) {
    if (is_alive) {
      answer(from, attempt, kFirstIsAlive, {attempt, {}, false}, out);
      return;
    }
    const auto promise = promises_.find(attempt);
    if (is_promised(attempt, now) && promise->second.by < from) return;  // that one decides
    if (from < setup_.self) {
      questions_.erase(attempt);
    } else if (questions_.contains(attempt)) {
      return;  // this node decides
    }
    promises_[attempt] = {from, after(after(after(now, setup_.grace), setup_.grace), setup_.grace)};
    answer(from, attempt, 0, {attempt, {}, false}, out);
  } else if ((frame.flags & kFirstIsGone) != 0) {
    if (!is_alive) start_question(attempt, text_of(frame), now, out);
  } else if (is_here && !is_alive) {
    // Nobody else on this node may be waiting for it, and looking after it.
    if (lowest() == setup_.self) {
      start_question(attempt, text_of(frame), now, out);
    } else {
      post(lowest(), FrameType::outcome_ask, attempt, kFirstIsGone, text_of(frame), out);
    }
  }
}

void Outcomes::on_answer(NodeIndex from, Attempt attempt, const Frame& frame, Output& out) {
  if ((frame.flags & kReceipt) != 0) {
    const auto found = unconfirmed_.find(attempt);
    if (found == unconfirmed_.end()) return;
    store_.release(attempt);
    if (setup_.is_successor) {
      Frame onward = make(FrameType::outcome, attempt);
      onward.payload = hold(found->second.record);
      send_down(setup_.self, setup_.self, onward, out);
    }
    unconfirmed_.erase(found);
    return;
  }
  if ((frame.flags & kGoAhead) != 0) {
    if (wanted_turn_.attempt == attempt) turn_ = std::exchange(wanted_turn_, {}).attempt;
    return;
  }
  const Attempt asked{attempt.section, static_cast<std::uint32_t>(frame.word)};
  if (!questions_.contains(asked)) return;
  if ((frame.flags & kHasRecord) != 0) {
    decide(asked, attempt, text_of(frame), out);
  } else if ((frame.flags & kFirstIsAlive) != 0) {
    questions_.erase(asked);
  } else {
    count_answer(asked, from, out);
  }
}

void Outcomes::on_outcome(NodeIndex from, Attempt attempt, const Frame& frame, Nanos now,
                          Output& out) {
  const bool is_decided = (frame.flags & kDecided) != 0;
  if (is_promised(attempt, now)) {
    const NodeIndex by = promises_[attempt].by;
    if (!is_decided || by < from) return;
  }
  if (!is_decided && questions_.contains(attempt)) {
    decide(attempt, attempt, text_of(frame), out);
    return;
  }
  const auto kept = store_.find(attempt);
  if (kept && !is_decided && (kept->attempt != attempt || kept->record != text_of(frame))) {
    // This has been decided otherwise, and its sender does not know yet.
    post(from, FrameType::outcome, kept->attempt, kDecided, kept->record, out);
    return;
  }
  if ((frame.flags & kWantsReceipt) != 0) {
    post(from, FrameType::outcome_answer, attempt, kReceipt, {}, out);
  }
  if (kept && !is_decided) return;
  store_.keep(attempt, text_of(frame), is_decided);
  forget(attempt);
  if (is_decided || frame.site >= lost_.size()) return;
  Frame onward = frame;
  onward.sender = setup_.speakers[setup_.self];
  onward.flags = 0;
  onward.payload = hold(text_of(frame));
  send_down(frame.site, setup_.self, onward, out);
}

void Outcomes::lose(NodeIndex node, Nanos now, Output& out) {
  payloads_.clear();
  if (node >= lost_.size() || lost_[node].is_lost) return;
  lost_[node] = {true, setup_.speakers[node], now};
  std::erase_if(promises_, [node](const auto& entry) { return entry.second.by == node; });
  give_up_on(node, now, out);
}

void Outcomes::miss_address(NodeIndex node, Nanos now, Output& out) {
  unknown_.insert(node);
  lose(node, now, out);
}

/// Questions do not wait for an answer that will not come.
void Outcomes::give_up_on(NodeIndex node, Nanos now, Output& out) {
  if (!is_given_up(node, now)) return;
  std::vector<Attempt> open;
  for (const auto& [attempt, question] : questions_) open.push_back(attempt);
  for (const Attempt& attempt : open) count_answer(attempt, node, out);
}

void Outcomes::introduce(const Newcomer& newcomer, NodeIndex to, Output& out) {
  std::string_view rest = newcomer.address;
  for (std::uint16_t piece = 0; piece == 0 || !rest.empty(); ++piece) {
    Frame frame = make(FrameType::hello, {});
    frame.sender = newcomer.rank;
    frame.site = newcomer.node;
    frame.step = piece;
    frame.epoch = newcomer.succession;
    frame.word = newcomer.address.size();
    frame.payload = hold(rest);
    rest.remove_prefix(frame.payload.size());
    out.push_back({to, frame});
  }
}

void Outcomes::say_hello(std::string_view address, std::uint64_t succession, Output& out) {
  payloads_.clear();
  successions_[setup_.self] = succession;
  own_ = Newcomer{setup_.self, setup_.speakers[setup_.self], std::string(address), succession};
  for (NodeIndex node = 0; node < lost_.size(); ++node) {
    if (node != setup_.self && !lost_[node].is_lost) introduce(*own_, node, out);
  }
}

bool Outcomes::is_anchor(NodeIndex node) const noexcept {
  return !lost_[node].is_lost && successions_[node] == 0 &&
         (setup_.is_known.empty() || setup_.is_known[node]);
}

void Outcomes::on_hello(const Frame& frame) {
  const auto member = std::lower_bound(setup_.members.begin(), setup_.members.end(), frame.sender);
  const bool is_member = member != setup_.members.end() && *member == frame.sender;
  const auto at = static_cast<std::size_t>(member - setup_.members.begin());
  HalfHello half;
  if (!is_member || frame.site == setup_.self || frame.site != setup_.node_of[at] ||
      frame.step >= half.pieces.size() || frame.word > LOCKSTEP_ADDRESS_MAX) {
    return;
  }
  HalfHello& known = half_hellos_[frame.sender];
  known.node = frame.site;
  known.succession = frame.epoch;
  known.length = frame.word;
  known.pieces[frame.step] = text_of(frame);
  std::string address = known.pieces[0] + known.pieces[1];
  if (address.size() != known.length) return;
  newcomers_.push_back({known.node, frame.sender, std::move(address), known.succession});
  half_hellos_.erase(frame.sender);
}

std::vector<Outcomes::Newcomer> Outcomes::take_newcomers() {
  return std::exchange(newcomers_, {});
}

void Outcomes::welcome(const Newcomer& newcomer, Nanos now, Output& out) {
  payloads_.clear();
  const NodeIndex node = newcomer.node;
  // Hellos may overtake each other; only a later speaker's is news, or the first one's where its
  // address was not known.
  const bool is_later = newcomer.succession > successions_[node];
  if (!is_later && (newcomer.succession != successions_[node] || !unknown_.contains(node))) return;
  successions_[node] = newcomer.succession;
  setup_.speakers[node] = newcomer.rank;
  lost_[node].is_lost = false;
  unknown_.erase(node);
  welcomed_[node] = newcomer;
  for (auto& [attempt, question] : questions_) {
    if (question.answered[node]) {
      question.answered[node] = false;
      --question.answers;
    }
    post(node, FrameType::outcome_ask, attempt, kDecides, {}, out);
  }
  if (own_) introduce(*own_, node, out);
  for (const auto& [other, earlier] : welcomed_) {
    if (other == node || lost_[other].is_lost) continue;
    introduce(earlier, node, out);
    introduce(newcomer, other, out);
  }
  std::vector<Early> early;
  std::swap(early, early_);
  for (Early& one : early) {
    if (one.frame.sender != newcomer.rank) {
      early_.push_back(std::move(one));
      continue;
    }
    one.frame.payload = std::as_bytes(std::span(one.payload));
    dispatch(node, one.frame, now, out);
  }
}

void Outcomes::tick(Nanos now, Output& out) {
  payloads_.clear();
  if (wanted_turn_.attempt.section != 0 && now >= wanted_turn_.ask_again_at) ask_for_turn(now, out);
  std::vector<Attempt> released;
  for (auto& [attempt, unconfirmed] : unconfirmed_) {
    if (now < unconfirmed.next_at) continue;
    const auto node = setup_.is_successor && anchor() ? anchor() : another(unconfirmed.asked);
    if (!node) {
      released.push_back(attempt);
      continue;
    }
    unconfirmed.asked = *node;
    unconfirmed.next_at = after(now, setup_.grace / 2);
    post(*node, FrameType::outcome, attempt, kWantsReceipt, unconfirmed.record, out);
  }
  for (const Attempt& attempt : released) {
    unconfirmed_.erase(attempt);
    store_.release(attempt);
  }
  if (!questions_.empty()) {
    for (NodeIndex node = 0; node < lost_.size(); ++node) give_up_on(node, now, out);
  }
  std::vector<Attempt> due;
  for (auto& [attempt, question] : questions_) {
    if (now >= question.until) due.push_back(attempt);
    if (now < question.ask_again_at) continue;
    // Some may not have known yet that this process speaks for its node.
    question.ask_again_at = after(now, setup_.grace / 4);
    for (NodeIndex node = 0; node < lost_.size(); ++node) {
      if (!question.answered[node] && !lost_[node].is_lost) {
        post(node, FrameType::outcome_ask, attempt, kDecides, {}, out);
      }
    }
  }
  for (const Attempt& attempt : due) {
    Question& question = questions_[attempt];
    if (now < after(question.until, setup_.grace)) {
      decide(attempt, attempt, question.if_dead, out);
    } else {
      // This node stood still, and those who answered may have promised somebody else since.
      const std::string if_dead = std::move(question.if_dead);
      questions_.erase(attempt);
      start_question(attempt, if_dead, now, out);
    }
  }
}

}  // namespace lockstep::engine
