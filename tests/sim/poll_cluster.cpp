// Drives the polls and keeps what everybody saw.
#include "tests/sim/poll_cluster.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/node/poll_board.hpp"

namespace lockstep::sim {
namespace {

using node::PollBoard;

constexpr Nanos kLook = 500 * kMillisecond;   // how often who waits looks after others
constexpr Nanos kIdle = 200 * kMillisecond;   // how often an idle speaker looks
constexpr Nanos kNotice = 10 * kMillisecond;  // the longest it takes to hear of a lost process
constexpr Nanos kStep = 2 * kMicrosecond;     // between the steps of a poll
constexpr Nanos kEnd = 20 * kSecond;          // nothing takes that long

}  // namespace

/// What one node knows of the others.
struct PollCluster::View final : engine::Presence {
  explicit View(const PollCluster& of) : cluster(of), lost(of.scenario_.nodes, 0) {}

  bool is_there(NodeIndex node) const override { return lost[node] == 0; }
  bool is_given_up(NodeIndex node, Nanos now) const override {
    const bool has_more = cluster.scenario_.ranks_per_node > 1;
    return lost[node] != 0 && (!has_more || now >= lost[node] + 2 * kSecond);
  }

  const PollCluster& cluster;
  std::vector<Nanos> lost;  ///< since when; 0: not
};

/// The page, and whoever speaks for the node.
struct PollCluster::Node final : engine::AgreementStore {
  Node(const PollCluster& cluster, Rank first)
      : lines(new node::PollLine[cluster.scenario_.ranks_per_node]()),
        view(cluster),
        speaker(first) {}

  std::uint64_t agreement() const override { return board->agreement(); }
  Value agreed() const override { return {board->agreed_fire(), {}}; }
  engine::Ballot promise() const override { return engine::Ballot::unpacked(board->promise()); }
  void promise(engine::Ballot ballot) override { board->promise(ballot.packed()); }
  Wish wants() const override {
    const PollBoard::Phase phase = board->look().phase;
    const bool is_wanted = phase == PollBoard::Phase::wanted && board->has_pollers();
    return phase == PollBoard::Phase::held || is_wanted ? Wish::some : Wish::none;
  }
  std::optional<Value> hold(std::uint64_t number, bool /*at_once*/) override {
    board->hold(number);
    return Value{board->furthest(), {}};
  }
  void commit(std::uint64_t number, const Value& fire) override {
    board->commit(number, fire.word);
  }
  void add(Value& furthest, const Value& here) const override {
    furthest.word = std::max(furthest.word, here.word);
  }
  void leave_out(Value& /*furthest*/, NodeIndex /*node*/) const override {}
  Value conclude(Value furthest) const override { return {furthest.word + 1, {}}; }

  node::PollState state{};
  std::unique_ptr<node::PollLine[]> lines;
  View view;
  Rank speaker;
  PollBoard* board = nullptr;  ///< the speaker's
  std::unique_ptr<engine::Agreement> agreement_;
  engine::Output output;
  Nanos next_tick = 0;
};

struct PollCluster::Process {
  explicit Process(Node& node, std::uint32_t ranks, std::uint32_t self)
      : board(node.state, std::span(node.lines.get(), ranks), self) {}

  PollBoard board;
  bool is_dead = false;
  bool is_meeting = false;  ///< until all have come
  bool waits = false;
  Nanos waits_since = 0;
  std::uint64_t sets = 0;
  std::uint64_t brought = 0;  ///< sets, to the meeting that it is in
  std::uint64_t told = 0;
};

std::string PollScenario::text() const {
  return fmt::format("{} nodes, {} ranks each, pace {}, {} sets in {}, {}", nodes, ranks_per_node,
                     pace_max, sets, time,
                     dies ? fmt::format("rank {} dies at {}", *dies, death) : "nobody dies");
}

PollCluster::PollCluster(const PollScenario& scenario, std::uint64_t seed)
    : scenario_(scenario),
      random_(seed ^ 0x706f6c6c),
      network_(scenario.weather, seed,
               [this](NodeIndex from, NodeIndex to, const engine::Frame& frame) {
                 deliver(from, to, frame);
               }) {
  const std::uint32_t each = scenario.ranks_per_node;
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    nodes_.push_back(std::make_unique<Node>(*this, first_of(node)));
    for (std::uint32_t i = 0; i < each; ++i) {
      ranks_.push_back(std::make_unique<Process>(*nodes_[node], each, i));
    }
  }
  for (NodeIndex node = 0; node < scenario.nodes; ++node) see_to_speaker(first_of(node));
}

PollCluster::~PollCluster() = default;

void PollCluster::later(Nanos most, Network::Action action) {
  network_.at(network_.now() + random_.between(0, most), std::move(action));
}

/// Long after a death only patience counts.
Nanos PollCluster::pace() const noexcept {
  const bool is_late = scenario_.dies && network_.now() > scenario_.death + 200 * kMillisecond;
  return is_late ? 10 * kMillisecond : scenario_.pace_max;
}

void PollCluster::run() {
  for (Rank rank = 0; rank < ranks_.size(); ++rank) {
    later(pace(), [this, rank] { poll(rank); });
  }
  for (std::uint32_t i = 0; i < scenario_.sets; ++i) {
    const Rank rank = random_.below(ranks_.size());
    later(scenario_.time, [this, rank] { set(rank); });
  }
  if (scenario_.dies) network_.at(scenario_.death, [this] { kill(*scenario_.dies); });
  for (NodeIndex node = 0; node < scenario_.nodes && is_wide(); ++node) idle(node);
  while (network_.now() < kEnd && network_.step()) {
    const bool is_over = std::all_of(ranks_.begin(), ranks_.end(), [](const auto& process) {
      return process->is_dead || (process->told == process->sets && !process->is_meeting);
    });
    const bool has_died = !scenario_.dies || network_.now() > scenario_.death;
    if (wrongs_.size() > 5 || is_broken_) break;
    if (is_over && has_died && network_.now() > scenario_.time) break;
  }
  judge();
}

void PollCluster::set(Rank rank) {
  Process& self = *ranks_[rank];
  if (self.is_dead) return;
  ++self.sets;
  self.board.want();
  later(kStep, [this, rank] { tick(node_of(rank)); });  // the lookout has heard the bell
}

void PollCluster::poll(Rank rank) {
  Process& self = *ranks_[rank];
  if (self.is_dead || is_broken_) return;
  if (self.board.enter()) {
    later(pace(), [this, rank] { poll(rank); });
  } else {
    later(kStep, [this, rank] { look(rank); });
  }
}

void PollCluster::look(Rank rank) {
  Process& self = *ranks_[rank];
  if (self.is_dead || is_broken_) return;
  const PollBoard::View seen = self.board.look();
  const bool is_new_wait = seen.phase == PollBoard::Phase::held && !self.waits;
  self.waits = seen.phase == PollBoard::Phase::held;
  if (is_new_wait) self.waits_since = network_.now();
  switch (seen.phase) {
    case PollBoard::Phase::fires:
      if (seen.fire == self.board.number()) return come_to_meeting(rank);
      break;
    case PollBoard::Phase::wanted:
      if (!is_wide()) return name_poll(rank);
      see_to_speaker(rank);
      break;
    case PollBoard::Phase::held:
      if (network_.now() - self.waits_since >= kLook) {
        self.waits_since = network_.now();
        if (is_wide()) see_to_speaker(rank);
        if (!is_wide() && ranks_[seen.holder]->is_dead) return name_poll(rank);
      }
      later(std::max(pace(), 5 * kStep), [this, rank] { look(rank); });
      return;
    case PollBoard::Phase::quiet:
      break;
  }
  later(pace(), [this, rank] { poll(rank); });
}

void PollCluster::name_poll(Rank rank) {
  Process& self = *ranks_[rank];
  if (!self.board.try_hold(self.board.look())) return later(kStep, [this, rank] { look(rank); });
  // It may die in between, or be so slow that others enter polls.
  later(5 * kStep, [this, rank] {
    if (ranks_[rank]->is_dead) return;
    const std::uint64_t furthest = ranks_[rank]->board.furthest();
    later(kStep, [this, rank, furthest] {
      if (ranks_[rank]->is_dead) return;
      ranks_[rank]->board.fire(furthest + 1);
      look(rank);
    });
  });
}

void PollCluster::come_to_meeting(Rank rank) {
  Process& self = *ranks_[rank];
  self.is_meeting = true;
  self.brought = self.sets;
  const bool are_all_here = std::all_of(ranks_.begin(), ranks_.end(), [](const auto& process) {
    return process->is_dead || process->is_meeting;
  });
  if (are_all_here) hold_meeting();
}

void PollCluster::hold_meeting() {
  std::optional<std::uint64_t> number;
  bool is_whole = true;
  for (const auto& process : ranks_) {
    is_whole = is_whole && process->is_meeting;
    if (process->is_dead) continue;
    if (process->waits) wrongs_.push_back("somebody is held while others meet");
    if (!process->is_meeting) continue;
    if (!number) number = process->board.number();
    if (*number != process->board.number()) {
      wrongs_.push_back(
          fmt::format("a meeting in polls {} and {}", *number, process->board.number()));
    }
  }
  if (!is_whole) {
    is_broken_ = true;  // alike for all
    return;
  }
  ++meetings_;
  for (Rank rank = 0; rank < ranks_.size(); ++rank) {
    ranks_[rank]->told = ranks_[rank]->brought;
    ranks_[rank]->is_meeting = false;
    if (!ranks_[rank]->is_dead) later(20 * kStep, [this, rank] { leave_meeting(rank); });
  }
}

void PollCluster::leave_meeting(Rank rank) {
  Process& self = *ranks_[rank];
  if (self.is_dead) return;
  self.board.finish(self.board.number());
  later(kStep, [this, rank] { tick(node_of(rank)); });
  later(pace(), [this, rank] { poll(rank); });
}

void PollCluster::kill(Rank rank) {
  const bool was_meeting = ranks_[rank]->is_meeting;
  ranks_[rank]->is_dead = true;
  const NodeIndex node = node_of(rank);
  if (is_wide() && nodes_[node]->speaker == rank) {
    nodes_[node]->agreement_.reset();
    for (NodeIndex other = 0; other < scenario_.nodes; ++other) {
      if (random_.below(2) == 0) network_.forget(node, other);  // what it sent last
      if (other != node) {
        later(kNotice, [this, node, other] {
          if (nodes_[node]->agreement_ == nullptr) {
            nodes_[other]->view.lost[node] = network_.now();
          }
        });
      }
    }
  }
  // The others are all here and wait for this one.
  const bool is_last = std::all_of(ranks_.begin(), ranks_.end(), [](const auto& process) {
    return process->is_dead || process->is_meeting;
  });
  if (is_last && !was_meeting) hold_meeting();
}

void PollCluster::see_to_speaker(Rank rank) {
  const NodeIndex node = node_of(rank);
  Node& here = *nodes_[node];
  const bool is_first = here.board == nullptr;
  if (!is_first && (here.agreement_ != nullptr || !ranks_[here.speaker]->is_dead)) return;
  here.speaker = rank;
  here.board = &ranks_[rank]->board;
  here.board->repair();
  here.agreement_ = std::make_unique<engine::Agreement>(
      engine::Agreement::Setup{1, rank, node, scenario_.nodes, 2 * kSecond}, here, here.view);
  if (is_first) return;
  for (NodeIndex other = 0; other < scenario_.nodes; ++other) {
    if (other == node) continue;
    // Behind the news that the one before it is lost.
    network_.at(network_.now() + kNotice + random_.between(0, kNotice),
                [this, node, other] { nodes_[other]->view.lost[node] = 0; });
  }
}

void PollCluster::tick(NodeIndex node) {
  Node& here = *nodes_[node];
  if (!is_wide() || here.agreement_ == nullptr) return;
  here.agreement_->tick(network_.now(), here.output);
  send(node);
  if (!here.agreement_->is_busy() || network_.now() < here.next_tick) return;
  here.next_tick = network_.now() + kMillisecond;
  network_.at(here.next_tick, [this, node] { tick(node); });
}

void PollCluster::idle(NodeIndex node) {
  tick(node);
  network_.at(network_.now() + kIdle, [this, node] { idle(node); });
}

void PollCluster::send(NodeIndex from) {
  for (const engine::Outgoing& outgoing : nodes_[from]->output) {
    ++posted_;
    network_.post(from, outgoing.peer, outgoing.frame);
  }
  nodes_[from]->output.clear();
}

void PollCluster::deliver(NodeIndex from, NodeIndex to, const engine::Frame& frame) {
  Node& here = *nodes_[to];
  if (here.agreement_ == nullptr) return;
  here.agreement_->receive(from, frame, network_.now(), here.output);
  send(to);
}

/// Nobody waits for ever, and nothing that a survivor has set is lost. A meeting that a dead rank
/// was to come to breaks, and who is left on a node whose speaker died while nothing was set may
/// not hear of it.
void PollCluster::judge() {
  if (is_broken_) return;
  const bool is_meeting = std::any_of(ranks_.begin(), ranks_.end(), [](const auto& process) {
    return process->is_meeting && !process->is_dead;
  });
  if (scenario_.dies && is_meeting) return hold_meeting();
  for (Rank rank = 0; rank < ranks_.size(); ++rank) {
    const Process& process = *ranks_[rank];
    if (process.is_dead || network_.now() < kEnd) continue;
    if (process.told != process.sets || process.is_meeting || process.waits) {
      wrongs_.push_back(fmt::format("rank {} has been told {} of {} sets; it is in poll {}{}{}",
                                    rank, process.told, process.sets, process.board.number(),
                                    process.is_meeting ? ", in a meeting" : "",
                                    process.waits ? ", held" : ""));
    }
  }
}

}  // namespace lockstep::sim
