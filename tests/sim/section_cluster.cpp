// Drives the outcomes of one section and keeps what everybody saw.
#include "tests/sim/section_cluster.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tests/sim/random.hpp"

namespace lockstep::sim {
namespace {
constexpr GroupId kGroup = 9;
constexpr std::uint64_t kSection = 1;
constexpr Nanos kLook = 500 * kMillisecond;  ///< how often who waits looks around
constexpr Nanos kTick = 50 * kMillisecond;   ///< how often a speaker's thread does
constexpr Nanos kStandBy = 200 * kMillisecond;
constexpr Nanos kEnd = 600 * kSecond;
}  // namespace

/// What the processes of a node share; outlives each of them.
struct SectionCluster::Page final : engine::OutcomeStore {
  SectionCluster* cluster = nullptr;
  NodeIndex node = 0;
  Rank speaker = 0;
  std::uint64_t succession = 0;
  std::optional<Kept> kept;
  bool is_released = false;
  std::uint64_t published = 0;  ///< by others than the speaker

  bool write(Attempt attempt, std::string_view record, bool replaces) {
    if (kept && kept->attempt > attempt) return false;
    if (kept && kept->attempt == attempt && (!replaces || is_released)) return false;
    kept = Kept{attempt, std::string(record), false};
    is_released = false;
    return true;
  }
  bool has_released(Attempt attempt) const {
    return kept && is_released && kept->attempt >= attempt;
  }

  std::optional<Kept> find(Attempt attempt) const override {
    if (!kept || kept->attempt < attempt) return std::nullopt;
    return Kept{kept->attempt, kept->record, is_released};
  }
  void keep(Attempt attempt, std::string_view record, bool is_decided) override {
    write(attempt, record, is_decided);
    release(attempt);
  }
  void release(Attempt attempt) override {
    if (!kept || kept->attempt != attempt) return;
    is_released = true;
    cluster->notice(node);
  }
  bool is_alive(Rank member) const override {
    return cluster->node_of(member) == node && !cluster->fates_[member].is_dead;
  }
};

struct SectionCluster::Process {
  bool has_come = false;
  bool is_working = false;
  bool has_asked = false;     ///< for its turn
  std::uint32_t attempt = 0;  ///< that it waits for, or goes first in
  std::uint64_t published = 0;
  std::unique_ptr<engine::Outcomes> outcomes;  ///< while it speaks for its node
  engine::Output output;
};

std::string SectionScenario::text() const {
  return fmt::format("{} nodes of {} ranks, {}", nodes, ranks_per_node,
                     retries ? "retry_next" : "propagate");
}

SectionCluster::SectionCluster(const SectionScenario& scenario, std::uint64_t seed)
    : scenario_(scenario),
      random_(seed + 1),
      network_(scenario.weather, seed,
               [this](Rank, Rank to, const engine::Frame& frame) {
                 Process& process = *processes_[to];
                 if (fates_[to].is_dead || pages_[node_of(to)]->speaker != to) return;
                 process.outcomes->receive(frame, network_.now(), process.output);
                 post(to);
                 for (const auto& newcomer : process.outcomes->take_newcomers()) {
                   process.outcomes->welcome(newcomer, network_.now(), process.output);
                   post(to);
                 }
               }),
      fates_(size()) {
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    pages_.push_back(std::make_unique<Page>());
    pages_.back()->cluster = this;
    pages_.back()->node = node;
    pages_.back()->speaker = node * scenario.ranks_per_node;
  }
  for (Rank rank = 0; rank < size(); ++rank) processes_.push_back(std::make_unique<Process>());
  for (Rank rank = 0; rank < size(); ++rank) {
    if (rank % scenario.ranks_per_node == 0) make_speaker(rank, false);
    network_.at(random_.between(0, scenario.arrival_max), [this, rank] { arrive(rank); });
  }
  for (const auto& [rank, time] : scenario.deaths) {
    network_.at(time, [this, rank = rank] { kill(rank, random_.below(2) == 0); });
  }
}

SectionCluster::~SectionCluster() = default;

void SectionCluster::cut(NodeIndex from, NodeIndex to, Nanos since, Nanos until) {
  for (Rank a = 0; a < scenario_.ranks_per_node; ++a) {
    for (Rank b = 0; b < scenario_.ranks_per_node; ++b) {
      network_.cut(
          {from * scenario_.ranks_per_node + a, to * scenario_.ranks_per_node + b, since, until});
    }
  }
}

Deed SectionCluster::deed(Rank rank) const {
  return rank < scenario_.deeds.size() ? scenario_.deeds[rank] : Deed::succeeds;
}

std::string SectionCluster::record_of(Rank first, engine::OutcomeKind kind) const {
  engine::Outcome outcome;
  outcome.kind = kind;
  outcome.first = first;
  outcome.is_final = kind == engine::OutcomeKind::ok || !scenario_.retries || first + 1 == size();
  outcome.text = fmt::format("of rank {}", first);
  return engine::encode_outcome(outcome);
}

void SectionCluster::make_speaker(Rank rank, bool takes_over) {
  engine::Outcomes::Setup setup{};
  setup.group = kGroup;
  setup.self = node_of(rank);
  setup.grace = scenario_.grace;
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    setup.speakers.push_back(node * scenario_.ranks_per_node);
  }
  for (Rank member = 0; member < size(); ++member) {
    setup.members.push_back(member);
    setup.node_of.push_back(node_of(member));
  }
  setup.speakers[setup.self] = rank;
  setup.is_successor = takes_over;
  Page& page = *pages_[setup.self];
  page.speaker = rank;
  Process& process = *processes_[rank];
  process.outcomes = std::make_unique<engine::Outcomes>(setup, page);
  network_.at(network_.now() + kTick, [this, rank] { tick(rank); });
  if (!takes_over) return;
  process.outcomes->say_hello("its address", ++page.succession, process.output);
  post(rank);
  if (page.kept && !page.is_released) {
    process.outcomes->publish(page.kept->attempt, page.kept->record, network_.now(),
                              process.output);
    post(rank);
  }
}

void SectionCluster::post(Rank rank) {
  Process& process = *processes_[rank];
  for (const engine::Outgoing& outgoing : process.output) {
    const Rank to = process.outcomes->setup().speakers[outgoing.peer];
    network_.post(rank, to, outgoing.frame);
    if (fates_[to].is_dead) tell_lost(to, rank);  // a transport notices when it sends
  }
  process.output.clear();
}

void SectionCluster::tick(Rank rank) {
  Process& process = *processes_[rank];
  Page& page = *pages_[node_of(rank)];
  if (fates_[rank].is_dead || page.speaker != rank || network_.now() > kEnd) return;
  if (process.published != page.published) {
    process.published = page.published;
    if (page.kept && !page.is_released) {
      process.outcomes->publish(page.kept->attempt, page.kept->record, network_.now(),
                                process.output);
      post(rank);
    }
  }
  process.outcomes->tick(network_.now(), process.output);
  post(rank);
  network_.at(network_.now() + kTick, [this, rank] { tick(rank); });
}

void SectionCluster::kill(Rank rank, bool forgets) {
  if (fates_[rank].is_dead) return;
  fates_[rank].is_dead = true;
  const bool spoke = processes_[rank]->outcomes != nullptr;
  for (Rank other = 0; spoke && other < size(); ++other) {
    if (forgets && random_.below(2) == 0) network_.forget(rank, other);
    if (other != rank && node_of(other) != node_of(rank)) tell_lost(rank, other);
  }
}

void SectionCluster::tell_lost(Rank rank, Rank other) {
  network_.at(network_.now() + random_.between(0, scenario_.grace / 4), [this, rank, other] {
    Process& process = *processes_[other];
    const NodeIndex node = node_of(rank);
    if (fates_[other].is_dead || pages_[node_of(other)]->speaker != other) return;
    if (process.outcomes->setup().speakers[node] != rank) return;  // has a successor
    process.outcomes->lose(node, network_.now(), process.output);
    post(other);
  });
}

void SectionCluster::arrive(Rank rank) {
  processes_[rank]->has_come = true;
  go_on(rank);
  network_.at(network_.now() + random_.between(0, kLook), [this, rank] { look(rank); });
}

/// Who goes first after another one makes sure that nobody has taken it for dead meanwhile.
bool SectionCluster::takes_turn(Rank rank) {
  const Attempt attempt{kSection, rank};
  Page& page = *pages_[node_of(rank)];
  if (fates_[page.speaker].is_dead) make_speaker(rank, true);
  const Rank speaker = page.speaker;
  engine::Outcomes& outcomes = *processes_[speaker]->outcomes;
  if (outcomes.has_turn(attempt)) return true;
  if (processes_[rank]->has_asked != speaker + 1) {
    processes_[rank]->has_asked = speaker + 1;
    outcomes.take_turn(attempt, network_.now(), processes_[speaker]->output);
    post(speaker);
  }
  if (outcomes.has_turn(attempt)) return true;
  network_.at(network_.now() + kMillisecond, [this, rank] { go_on(rank); });
  return false;
}

/// While a first works, and until its record is known, its thread sees to it that somebody speaks
/// for its node.
void SectionCluster::stand_by(Rank rank) {
  const bool is_known = pages_[node_of(rank)]->has_released({kSection, rank});
  if (fates_[rank].is_dead || is_known || network_.now() > kEnd) return;
  if (fates_[pages_[node_of(rank)]->speaker].is_dead) make_speaker(rank, true);
  network_.at(network_.now() + kStandBy, [this, rank] { stand_by(rank); });
}

/// Takes what the page has, and goes first if it is this rank's turn.
void SectionCluster::go_on(Rank rank) {
  Process& process = *processes_[rank];
  Fate& fate = fates_[rank];
  Page& page = *pages_[node_of(rank)];
  if (fate.is_dead || !process.has_come || process.is_working || fate.seen) return;
  while (page.has_released({kSection, process.attempt})) {
    const auto outcome = engine::decode_outcome(page.kept->record);
    if (outcome->is_final) {
      fate.seen = outcome;
      return;
    }
    process.attempt = page.kept->attempt.number + 1;
  }
  if (process.attempt != rank) return;
  if (rank > 0 && !takes_turn(rank)) return;
  process.is_working = true;
  if (deed(rank) == Deed::dies_before) {
    kill(rank, false);
    return;
  }
  network_.at(network_.now() + kStandBy, [this, rank] { stand_by(rank); });
  network_.at(network_.now() + random_.between(0, scenario_.work), [this, rank] { finish(rank); });
}

void SectionCluster::finish(Rank rank) {
  Process& process = *processes_[rank];
  Fate& fate = fates_[rank];
  Page& page = *pages_[node_of(rank)];
  if (fate.is_dead) return;
  process.is_working = false;
  const bool is_ok = deed(rank) != Deed::fails;
  fate.has_run = is_ok;
  const Attempt attempt{kSection, rank};
  const std::string record =
      record_of(rank, is_ok ? engine::OutcomeKind::ok : engine::OutcomeKind::failed);
  if (!page.write(attempt, record, false)) {
    fate.was_taken_for_dead = true;
    return;
  }
  if (deed(rank) == Deed::dies_unheard) {
    kill(rank, true);
    return;
  }
  if (page.speaker == rank) {
    process.outcomes->publish(attempt, record, network_.now(), process.output);
    post(rank);
  } else {
    ++page.published;
  }
  if (deed(rank) == Deed::dies_speaking) {
    kill(rank, true);
    return;
  }
  fate.has_succeeded = is_ok;
  fate.seen = engine::decode_outcome(record);
}

void SectionCluster::look(Rank rank) {
  Process& process = *processes_[rank];
  Fate& fate = fates_[rank];
  if (fate.is_dead || fate.seen || network_.now() > kEnd) return;
  network_.at(network_.now() + kLook, [this, rank] { look(rank); });
  if (process.is_working) return;
  Page& page = *pages_[node_of(rank)];
  if (fates_[page.speaker].is_dead) make_speaker(rank, true);
  Process& speaker = *processes_[page.speaker];
  const bool is_gone = node_of(process.attempt) == node_of(rank) && fates_[process.attempt].is_dead;
  speaker.outcomes->inquire({kSection, process.attempt}, is_gone,
                            record_of(process.attempt, engine::OutcomeKind::dead), network_.now(),
                            speaker.output);
  post(page.speaker);
}

/// A record has been released on this node.
void SectionCluster::notice(NodeIndex node) {
  for (Rank i = 0; i < scenario_.ranks_per_node; ++i) {
    const Rank rank = node * scenario_.ranks_per_node + i;
    network_.at(network_.now(), [this, rank] { go_on(rank); });
  }
}

void SectionCluster::run() {
  const auto is_settled = [this] {
    return std::all_of(fates_.begin(), fates_.end(),
                       [](const Fate& fate) { return fate.is_dead || fate.seen; });
  };
  while (!is_settled() && network_.step()) {
  }
}

std::string SectionCluster::text() const {
  std::string text;
  for (Rank rank = 0; rank < size(); ++rank) {
    const Fate& fate = fates_[rank];
    text += fmt::format("rank {}: {}{}{}\n", rank, fate.is_dead ? "dead " : "",
                        fate.was_taken_for_dead ? "taken for dead "
                        : fate.has_run          ? "ran "
                                                : "",
                        fate.seen ? engine::encode_outcome(*fate.seen) : "has seen nothing");
  }
  return text;
}

}  // namespace lockstep::sim
