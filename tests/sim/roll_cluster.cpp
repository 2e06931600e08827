// Drives the roll calls and keeps what everybody was told.
#include "tests/sim/roll_cluster.hpp"

#include <algorithm>
#include <atomic>
#include <span>

#include <fmt/format.h>

namespace lockstep::sim {
namespace {

using node::RollBoard;

constexpr GroupId kGroup = 7;
constexpr Nanos kLook = 20 * kMillisecond;    // how often who waits looks after others
constexpr Nanos kIdle = 200 * kMillisecond;   // how often an idle speaker looks
constexpr Nanos kBusy = 10 * kMillisecond;    // how often one that has something to do
constexpr Nanos kWake = kMillisecond;         // until a speaker's thread is at work
constexpr Nanos kStandBy = 3 * kMillisecond;  // the longest that it takes to open a port
constexpr Nanos kStandstill = kSecond;        // a waiting process looks ten times as often
constexpr int kPatience = 8;                  // times of grace that other nodes may take in a hurry
constexpr std::uint64_t kStorm = 50'000;      // frames; nothing takes that many
constexpr Nanos kSlack = kSecond;             // for all that takes no part of a deadline

/// Sections have no part in this.
struct NoRecords final : engine::OutcomeStore {
  std::optional<Kept> find(Attempt) const override { return std::nullopt; }
  void keep(Attempt, std::string_view, bool) override {}
  void release(Attempt) override {}
  bool is_alive(Rank) const override { return false; }
};

struct EarlyFrame {
  engine::Frame frame;
  std::vector<std::byte> payload;
};

}  // namespace

/// What the processes of a node share; outlives each of them.
struct RollCluster::Page {
  Page(Rank first, std::uint32_t ranks)
      : marks(new std::atomic<std::uint64_t>[ranks]()), speaker(first) {}

  node::RollState state{};
  std::unique_ptr<std::atomic<std::uint64_t>[]> marks;
  Rank speaker;
  std::uint64_t succession = 0;
  bool has_changed = false;  ///< somebody else has spoken since
};

/// What a process needs to speak for its node.
struct RollCluster::Talker {
  Talker(RollBoard& board, engine::Outcomes::Setup setup, progress::Rolls::IsGone is_gone)
      : outcomes(std::move(setup), records),
        rolls(board,
              {kGroup, outcomes.setup().speakers[outcomes.setup().self], outcomes.setup().self,
               static_cast<NodeIndex>(outcomes.setup().speakers.size()), outcomes.setup().grace,
               engine::FrameType::roll_raise},
              outcomes, std::move(is_gone)) {}

  NoRecords records;
  engine::Outcomes outcomes;
  progress::Rolls rolls;
  engine::Output output;
  std::set<Rank> reached;  ///< whose address it has
  std::set<Rank> used;     ///< of those, to whom it has sent something
  std::set<Rank> lost;     ///< is told once
  bool is_roused = false;
};

struct RollCluster::Process {
  Process(Page& page, std::uint32_t ranks, std::uint32_t self)
      : board(page.state, std::span(page.marks.get(), ranks), self) {}

  RollBoard board;
  bool is_dead = false;
  std::uint64_t number = 0;  ///< of the roll call that it is or was in
  Nanos deadline = 0;
  Nanos next_look = 0;
  Nanos last_look = 0;
  bool has_expired = false;
  std::uint32_t sendings = 0;
  std::unique_ptr<Talker> talker;
};

std::string RollScenario::text() const {
  std::string text = fmt::format("{} nodes, {} ranks each, {} calls within {}", nodes,
                                 ranks_per_node, calls, time);
  for (const auto& [rank, when] : late) text += fmt::format("; rank {} is late: {}", rank, when);
  for (const auto& [rank, when] : deaths) text += fmt::format("; rank {} dies at {}", rank, when);
  for (const auto& [rank, count] : last_words) {
    text += fmt::format("; rank {} dies in sending {}", rank, count);
  }
  for (const auto& [rank, when] : still) {
    text += fmt::format("; rank {} stands still from {} to {}", rank, when.since, when.until);
  }
  for (const Rank rank : on_duty) text += fmt::format("; rank {} is on duty", rank);
  for (const NodeIndex node : unknown) text += fmt::format("; node {} is not known to all", node);
  return text;
}

RollCluster::RollCluster(const RollScenario& scenario, std::uint64_t seed)
    : scenario_(scenario),
      random_(seed ^ 0x726f6c6c),
      network_(scenario.weather, seed,
               [this](Rank, Rank to, const engine::Frame& frame) { deliver(to, frame); }) {
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    pages_.push_back(std::make_unique<Page>(first_of(node), each()));
    for (std::uint32_t i = 0; i < each(); ++i) {
      ranks_.push_back(std::make_unique<Process>(*pages_[node], each(), i));
    }
  }
  for (NodeIndex node = 0; node < scenario.nodes && is_wide(); ++node) stand_by(first_of(node));
  for (const Rank rank : scenario.on_duty) {
    act(rank, random_.between(0, scenario.time), [this, rank] {
      if (is_wide() && ranks_[rank]->talker == nullptr) stand_by(rank);
    });
  }
  for (const auto& [rank, time] : scenario.deaths) {
    network_.at(time, [this, rank = rank] { kill(rank, random_.below(2) == 0); });
  }
}

RollCluster::~RollCluster() = default;

bool RollCluster::is_dead(Rank rank) const {
  return ranks_[rank]->is_dead;
}

bool RollCluster::is_speaker(Rank rank) const {
  return ranks_[rank]->talker != nullptr && pages_[node_of(rank)]->speaker == rank;
}

Nanos RollCluster::still_until(Rank rank) const {
  const auto found = scenario_.still.find(rank);
  if (found == scenario_.still.end()) return 0;
  const bool is_still =
      network_.now() >= found->second.since && network_.now() < found->second.until;
  return is_still ? found->second.until : 0;
}

/// What a rank does after a while: not while it stands still, and never once it is dead.
void RollCluster::act(Rank rank, Nanos delay, Network::Action action) {
  network_.at(network_.now() + delay, [this, rank, action = std::move(action)] {
    if (is_dead(rank)) return;
    const Nanos until = still_until(rank);
    if (until == 0) return action();
    // It looks for frames first when it goes on.
    if (until != kNever) act(rank, until - network_.now() + 1, action);
  });
}

void RollCluster::run() {
  start_call(std::vector<bool>(scenario_.size(), true));
  const Nanos longest = scenario_.deadline + kPatience * scenario_.grace + 2 * kSlack;
  const Nanos end = 2 * (scenario_.calls + 1) * longest;
  while (!is_done_ && posted_ < kStorm && wrongs_.empty() && network_.now() < end &&
         network_.step()) {
  }
}

// -- a rank in a roll call

void RollCluster::start_call(std::vector<bool> members) {
  Call next;
  next.members = std::move(members);
  next.answers.resize(scenario_.size());
  next.start = network_.now();
  calls_.push_back(std::move(next));
  for (Rank rank = 0; rank < scenario_.size(); ++rank) {
    const Nanos soon =
        random_.between(0, scenario_.time) + (calls_.size() > 1 ? scenario_.pause : 0);
    if (!calls_.back().members[rank]) continue;
    const auto late = scenario_.late.find(rank);
    if (late == scenario_.late.end()) {
      act(rank, soon, [this, rank] { call(rank); });
    } else if (late->second != kNever) {
      act(rank, late->second, [this, rank] { call(rank); });
    }
  }
}

void RollCluster::call(Rank rank) {
  Process& self = *ranks_[rank];
  const Nanos now = network_.now();
  answer_of(rank).called_at = now;
  self.number = calls_.size();
  self.deadline = after(now, scenario_.deadline);
  self.next_look = after(now, kLook);
  self.last_look = now;
  self.has_expired = false;
  if (!self.board.come(self.number)) return end(rank, Answer::Kind::left_out, {});
  act(rank, random_.between(0, kWake), [this, rank] {
    see_to_roll(rank);
    act(rank, 0, [this, rank] { look(rank); });
  });
}

void RollCluster::look(Rank rank) {
  Process& self = *ranks_[rank];
  if (is_over(rank)) return read(rank);
  if (self.talker != nullptr) tick(rank);
  const Nanos now = network_.now();
  if (const Nanos gap = now - self.last_look; gap > kStandstill) {
    self.deadline = after(self.deadline, gap);
  }
  self.last_look = now;
  const bool is_late = now >= self.deadline;
  if (is_late && self.has_expired) {
    if (is_over(rank)) return read(rank);
    return end(rank, Answer::Kind::not_agreed, {});
  }
  if (is_late) expire(rank);
  if (is_late || now >= self.next_look) {
    self.next_look = after(now, kLook);
    see_to_roll(rank);
  }
  act(rank, random_.between(kMicrosecond, kLook), [this, rank] { look(rank); });
}

void RollCluster::expire(Rank rank) {
  Process& self = *ranks_[rank];
  Call& call = calls_.back();
  self.has_expired = true;
  self.deadline = after(network_.now(), kPatience * scenario_.grace);
  call.hurried_at = std::min(call.hurried_at, network_.now());
  self.board.hurry(self.number);
  for (std::uint32_t member = 0; member < each(); ++member) self.board.miss(member, self.number);
}

void RollCluster::see_to_roll(Rank rank) {
  Process& self = *ranks_[rank];
  for (std::uint32_t member = 0; member < each(); ++member) {
    const bool is_gone = is_dead(first_of(node_of(rank)) + member);
    if (!self.board.is_decided(member, self.number) && is_gone) {
      self.board.miss(member, self.number);
    }
  }
  if (is_wide()) speak_for_those_left(rank);
}

void RollCluster::speak_for_those_left(Rank rank) {
  Process& self = *ranks_[rank];
  const Rank first = first_of(node_of(rank));
  const bool has_come = self.board.has_come(rank - first, self.number);
  if (is_speaker(rank) || !has_come || !self.board.is_complete(self.number)) return;
  Rank lowest = first;
  while (lowest < rank && (!self.board.has_come(lowest - first, self.number) || is_dead(lowest))) {
    ++lowest;
  }
  if (lowest != rank) return;
  if (self.talker != nullptr) return take_over(rank);
  stand_by(rank);
  act(rank, random_.between(0, kStandBy), [this, rank] { take_over(rank); });
}

bool RollCluster::is_over(Rank rank) const {
  const Process& self = *ranks_[rank];
  return is_wide() ? self.board.agreement() >= self.number : self.board.is_complete(self.number);
}

void RollCluster::read(Rank rank) {
  const Process& self = *ranks_[rank];
  std::vector<Rank> present;
  // Ranks lie in the order of their nodes: a rank is its place.
  const std::vector<std::uint32_t> missing = self.board.missing().list();
  for (Rank other = 0; other < scenario_.size(); ++other) {
    const bool is_missing = is_wide() ? std::binary_search(missing.begin(), missing.end(), other)
                                      : !self.board.has_come(other, self.number);
    if (!is_missing) present.push_back(other);
  }
  const bool is_in = std::binary_search(present.begin(), present.end(), rank);
  end(rank, is_in ? Answer::Kind::present : Answer::Kind::left_out, std::move(present));
}

void RollCluster::end(Rank rank, Answer::Kind kind, std::vector<Rank> present) {
  Answer& answer = answer_of(rank);
  answer.kind = kind;
  answer.present = std::move(present);
  answer.time = network_.now();
  if (kind == Answer::Kind::present && is_wide()) go_on_telling(rank, calls_.size());
  go_on();
}

/// Who has been told goes on until all have: they meet in their group.
void RollCluster::go_on_telling(Rank rank, std::size_t call) {
  if (is_done_ || calls_.size() != call) return;
  speak_for_those_left(rank);
  act(rank, kLook, [this, rank, call] { go_on_telling(rank, call); });
}

/// The next call comes once all have been told of this one: they meet in between.
void RollCluster::go_on() {
  const Call& call = calls_.back();
  std::vector<bool> members(scenario_.size(), false);
  for (Rank rank = 0; rank < scenario_.size(); ++rank) {
    if (!call.members[rank] || is_dead(rank) || still_until(rank) == kNever) continue;
    const Answer& answer = call.answers[rank];
    const auto late = scenario_.late.find(rank);
    const bool never_calls = late != scenario_.late.end() && late->second == kNever;
    if (answer.kind == Answer::Kind::none && !never_calls) return;
    members[rank] = answer.kind == Answer::Kind::present;
  }
  is_done_ = calls_.size() == scenario_.calls;
  if (!is_done_) start_call(std::move(members));
}

// -- whoever speaks for a node

engine::Outcomes::Setup RollCluster::setup_for(Rank rank, bool is_successor) const {
  engine::Outcomes::Setup setup{};
  setup.group = kGroup;
  setup.self = node_of(rank);
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) setup.speakers.push_back(first_of(node));
  setup.speakers[setup.self] = rank;
  for (Rank member = 0; member < scenario_.size(); ++member) {
    setup.members.push_back(member);
    setup.node_of.push_back(node_of(member));
  }
  setup.grace = scenario_.grace;
  setup.is_successor = is_successor;
  setup.is_known.assign(scenario_.nodes, true);
  for (const NodeIndex node : scenario_.unknown) setup.is_known[node] = false;
  if (is_successor) return setup;
  for (const NodeIndex node : scenario_.unknown) {
    setup.newcomers.push_back({node, first_of(node), "its address", 0});
  }
  return setup;
}

void RollCluster::stand_by(Rank rank) {
  const bool is_successor = rank != first_of(node_of(rank));
  const Rank first = first_of(node_of(rank));
  Process& self = *ranks_[rank];
  self.talker = std::make_unique<Talker>(
      self.board, setup_for(rank, is_successor),
      [this, first](std::uint32_t member) { return is_dead(first + member); });
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    if (node == node_of(rank)) continue;
    if (is_successor && scenario_.unknown.contains(node)) {
      self.talker->outcomes.miss_address(node, network_.now(), self.talker->output);
    } else {
      self.talker->reached.insert(first_of(node));
    }
  }
  act(rank, random_.between(0, kIdle), [this, rank] { beat(rank); });
}

void RollCluster::take_over(Rank rank) {
  if (is_speaker(rank)) return;
  Page& page = *pages_[node_of(rank)];
  page.speaker = rank;
  page.has_changed = true;
  Talker& talker = *ranks_[rank]->talker;
  talker.outcomes.say_hello("its address", ++page.succession, talker.output);
  send(rank);
}

/// The port's thread.
void RollCluster::beat(Rank rank) {
  tick(rank);
  const bool is_busy = is_speaker(rank) && ranks_[rank]->talker->rolls.is_busy();
  act(rank, is_busy ? kBusy : kIdle, [this, rank] { beat(rank); });
}

void RollCluster::tick(Rank rank) {
  Talker& talker = *ranks_[rank]->talker;
  const Nanos now = network_.now();
  const bool is_lacking = is_dead(pages_[node_of(rank)]->speaker);
  if (is_lacking && scenario_.on_duty.contains(rank)) take_over(rank);
  if (!is_speaker(rank)) return;
  for (const engine::Outcomes::Newcomer& newcomer : talker.outcomes.take_newcomers()) {
    if (talker.lost.contains(newcomer.rank)) continue;  // there is no way to it any more
    talker.reached.insert(newcomer.rank);
    talker.outcomes.welcome(newcomer, now, talker.output);
    send(rank);
  }
  talker.outcomes.tick(now, talker.output);
  send(rank);
  talker.rolls.between().tick(now, talker.output);
  send(rank);
}

void RollCluster::send(Rank rank) {
  Process& self = *ranks_[rank];
  Talker& talker = *self.talker;
  const bool says = !talker.output.empty() && !self.is_dead;
  for (const engine::Outgoing& outgoing : talker.output) {
    const Rank to = talker.outcomes.setup().speakers[outgoing.peer];
    if (self.is_dead || !talker.reached.contains(to) || talker.lost.contains(to)) continue;
    ++posted_;
    talker.used.insert(to);
    network_.post(rank, to, outgoing.frame);
    if (is_dead(to)) tell_lost(rank, to);  // a transport notices when it sends
  }
  talker.output.clear();
  const auto last = scenario_.last_words.find(rank);
  if (says && last != scenario_.last_words.end() && ++self.sendings == last->second) {
    kill(rank, true);
  }
}

void RollCluster::deliver(Rank to, const engine::Frame& frame) {
  Process& self = *ranks_[to];
  if (self.is_dead || self.talker == nullptr) return;
  if (const Nanos until = still_until(to); until != 0) {
    auto kept = std::make_shared<EarlyFrame>(
        EarlyFrame{frame, {frame.payload.begin(), frame.payload.end()}});
    kept->frame.payload = kept->payload;
    if (until != kNever) network_.at(until, [this, to, kept] { deliver(to, kept->frame); });
    return;
  }
  if (!is_speaker(to)) return;
  Talker& talker = *self.talker;
  engine::Agreement& agreement = talker.rolls.between();
  if (agreement.is_for(frame.type)) {
    const auto from = talker.outcomes.node_of(frame.sender);
    if (!from || *from == node_of(to)) return;
    agreement.receive(*from, frame, network_.now(), talker.output);
  } else {
    talker.outcomes.receive(frame, network_.now(), talker.output);
  }
  send(to);
  if (talker.is_roused) return;
  talker.is_roused = true;
  act(to, random_.between(0, kWake), [this, to] {
    ranks_[to]->talker->is_roused = false;
    tick(to);
  });
}

void RollCluster::tell_lost(Rank rank, Rank dead) {
  act(rank, random_.between(0, scenario_.notice), [this, rank, dead] {
    Talker& talker = *ranks_[rank]->talker;
    if (!talker.lost.insert(dead).second) return;
    const auto node = talker.outcomes.node_of(dead);
    if (!node) return;
    talker.outcomes.lose(*node, network_.now(), talker.output);
    send(rank);
  });
}

void RollCluster::kill(Rank rank, bool forgets) {
  if (is_dead(rank)) return;
  ranks_[rank]->is_dead = true;
  for (Rank other = 0; other < scenario_.size(); ++other) {
    if (other == rank) continue;
    if (forgets && random_.below(2) == 0) network_.forget(rank, other);
    const Talker* const talker = ranks_[other]->talker.get();
    if (talker != nullptr && talker->used.contains(rank)) tell_lost(other, rank);
  }
  if (!calls_.empty() && !is_done_) go_on();
}

// -- what was promised

/// A node that the same process speaks for all the time, which all can reach from the beginning:
/// there speakers hear of each other, however many come after each other.
bool RollCluster::has_anchor() const {
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    const Rank first = first_of(node);
    if (is_dead(first) || scenario_.still.contains(first) || scenario_.unknown.contains(node)) {
      continue;
    }
    if (!pages_[node]->has_changed) return true;
  }
  return false;
}

void RollCluster::judge_set(const Call& call, Rank rank, std::vector<std::string>& wrongs) const {
  const Answer& answer = call.answers[rank];
  const bool is_hurried = call.hurried_at <= answer.time;
  const bool is_anchored = has_anchor() && scenario_.still.empty();
  for (Rank other = 0; other < scenario_.size(); ++other) {
    const bool is_in = std::binary_search(answer.present.begin(), answer.present.end(), other);
    const Nanos called_at = call.answers[other].called_at;
    if (is_in && called_at > answer.time) {
      wrongs.push_back(
          fmt::format("rank {} is told that {} is here, which has not called", rank, other));
    }
    if (is_in || is_dead(other) || !call.members[other]) continue;
    if (!is_hurried) {
      wrongs.push_back(
          fmt::format("rank {} is told that {} is missing, which lives, and nobody "
                      "was in a hurry",
                      rank, other));
    } else if (is_anchored && called_at != kNever && called_at + kSlack < call.hurried_at) {
      wrongs.push_back(
          fmt::format("rank {} is told that {} is missing, which came in time", rank, other));
    }
  }
}

/// With nobody late, and the same speakers all the time, nobody has to cease to wait for others.
bool RollCluster::is_easy() const {
  if (!scenario_.late.empty() || !scenario_.still.empty()) return false;
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    if (is_dead(first_of(node))) return false;
  }
  return true;
}

void RollCluster::judge_call(const Call& call, std::vector<std::string>& wrongs) const {
  const Nanos longest = scenario_.deadline + kPatience * scenario_.grace + kSlack;
  const bool is_answered = has_anchor() && scenario_.still.empty() && scenario_.unknown.empty();
  if (is_easy() && call.hurried_at != kNever) wrongs.push_back("somebody had to be in a hurry");
  std::optional<Rank> told;
  for (Rank rank = 0; rank < scenario_.size(); ++rank) {
    const Answer& answer = call.answers[rank];
    if (is_dead(rank) || answer.called_at == kNever) continue;
    if (answer.kind == Answer::Kind::none && still_until(rank) == 0) {
      wrongs.push_back(fmt::format("rank {} waits for ever", rank));
    } else if (!scenario_.still.contains(rank) && answer.time - answer.called_at > longest) {
      wrongs.push_back(fmt::format("rank {} has waited for too long", rank));
    }
    if (answer.kind == Answer::Kind::not_agreed && is_answered) {
      wrongs.push_back(fmt::format("rank {} is told of no agreement", rank));
    }
    if (answer.kind == Answer::Kind::none || answer.kind == Answer::Kind::not_agreed) continue;
    if (answer.present.empty()) continue;  // is out, and was not told who is in
    if (told && call.answers[*told].present != answer.present) {
      wrongs.push_back(fmt::format("ranks {} and {} are told different things", *told, rank));
    }
    told = rank;
    judge_set(call, rank, wrongs);
  }
  for (Rank rank = 0; told && rank < scenario_.size(); ++rank) {
    const std::vector<Rank>& present = call.answers[*told].present;
    const bool is_in = std::binary_search(present.begin(), present.end(), rank);
    if (is_in && call.answers[rank].kind == Answer::Kind::left_out) {
      wrongs.push_back(fmt::format("rank {} counts on {}, which is left out", *told, rank));
    }
  }
}

std::vector<std::string> RollCluster::wrongs() const {
  std::vector<std::string> wrongs = wrongs_;
  if (posted_ >= kStorm) wrongs.push_back("speakers do not cease to send");
  if (!wrongs.empty()) return wrongs;
  for (const Call& call : calls_) judge_call(call, wrongs);
  return wrongs;
}

std::string RollCluster::text() const {
  std::string text;
  for (const Call& call : calls_) {
    text += fmt::format("roll call, hurried at {}\n", call.hurried_at);
    for (Rank rank = 0; rank < scenario_.size(); ++rank) {
      const Answer& answer = call.answers[rank];
      RankSet present;
      for (const Rank other : answer.present) present.append(other);
      constexpr const char* kKinds[] = {"nothing", "present", "left out", "not agreed"};
      text += fmt::format("  rank {}{}: called at {}, {} at {}: {}\n", rank,
                          is_dead(rank) ? " (dead)" : "", answer.called_at,
                          kKinds[static_cast<int>(answer.kind)], answer.time, present.text());
    }
  }
  return text;
}

}  // namespace lockstep::sim
