// Drives the exchanges and judges what they do.
#include "tests/sim/cluster.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lockstep::sim {

namespace {
constexpr std::uint64_t kSession = 77;
constexpr GroupId kGroup = 5;
/// Above this many nodes nobody asks, and a list of all members on every node would not fit.
constexpr std::uint32_t kCensusMax = 2'000;
constexpr std::uint64_t kWordBits = 64;
}  // namespace

struct Cluster::Node final : engine::LocalViewSource {
  NodeIndex index = 0;
  std::vector<Rank> ranks;
  std::vector<Epoch> arrived;  ///< per rank of this node: the last epoch it has arrived at
  Epoch entered = 0;
  Nanos stalled_until = 0;
  bool is_dead = false;
  bool has_left = false;
  bool is_misplaced = false;  ///< its ranks are in another call in the epoch they wait for
  std::vector<std::byte> vector;
  engine::Output output;
  std::unique_ptr<engine::Exchange> exchange;

  engine::LocalView local_view(Epoch epoch) const override {
    engine::LocalView view;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (arrived[i] < epoch) {
        view.missing.append(ranks[i]);
      } else if (view.signature == 0) {
        view.signature = signature();
        view.site = fmt::format("rank {} at {}", ranks[i], is_misplaced ? "there" : "here");
      }
    }
    return view;
  }
  std::uint32_t signature() const { return is_misplaced ? 33 : 11; }
  bool is_gone() const { return is_dead || has_left; }
};

std::string Scenario::text() const {
  return fmt::format("{} nodes of {} ranks, {}({}), {} epochs, deadline {}, {}, {} ppm repeated",
                     nodes, ranks_per_node, topology == Topology::tree ? "tree" : "dissemination",
                     radix, epochs,
                     deadline == kNever ? "never" : fmt::format("{} us", deadline / 1000),
                     weather.keeps_order ? "in order" : "out of order", weather.repeat_ppm);
}

Cluster::Cluster(const Scenario& scenario, std::uint64_t seed)
    : scenario_(scenario),
      seed_(seed),
      random_(seed + 1),
      network_(scenario.weather, seed,
               [this](NodeIndex from, NodeIndex to, const engine::Frame& frame) {
                 deliver(from, to, frame);
               }),
      fates_(scenario.nodes),
      arrivals_(scenario.epochs + 2,
                std::vector<Nanos>(scenario.nodes * scenario.ranks_per_node, kNever)),
      entered_(scenario.epochs + 2, 0) {
  for (NodeIndex index = 0; index < scenario.nodes; ++index) {
    auto node = std::make_unique<Node>();
    node->index = index;
    for (std::uint32_t i = 0; i < scenario.ranks_per_node; ++i) {
      node->ranks.push_back(index * scenario.ranks_per_node + i);
    }
    node->arrived.assign(node->ranks.size(), 0);
    node->exchange = std::make_unique<engine::Exchange>(setup_of(index), *node);
    nodes_.push_back(std::move(node));
  }
}

Cluster::~Cluster() = default;

engine::Exchange::Setup Cluster::setup_of(NodeIndex self) const {
  engine::Exchange::Setup setup{};
  setup.group = kGroup;
  setup.session = kSession;
  setup.self = self;
  setup.grace = scenario_.grace;
  const schedule::Shape shape{scenario_.nodes, scenario_.radix};
  setup.plan = scenario_.topology == Topology::tree ? schedule::tree(self, shape)
                                                    : schedule::dissemination(self, shape);
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    const Rank first = node * scenario_.ranks_per_node;
    setup.leaders.push_back(first);
    if (scenario_.nodes > kCensusMax) continue;
    setup.members.push_back(RankSet({{first, scenario_.ranks_per_node}}));
    setup.hosts.push_back(fmt::format("n{}", node));
  }
  return setup;
}

// -- what everybody brings: bits that differ between nodes and epochs, so that a missing one and a
// stale one both show

bool Cluster::sets_bit(NodeIndex node, Epoch epoch) const {
  return (mix(seed_ ^ (std::uint64_t{node} << 32) ^ epoch) & 1) != 0;
}

std::size_t Cluster::vector_length(Epoch epoch) const {
  if (!scenario_.has_vectors || (mix(seed_ + epoch) & 1) == 0) return 0;
  return std::min<std::size_t>((scenario_.nodes + 7) / 8 + epoch % 3, engine::kPayloadMax);
}

engine::Contribution Cluster::contribution(Node& node, Epoch epoch) const {
  const bool is_set = sets_bit(node.index, epoch);
  node.vector.assign(vector_length(epoch), std::byte{0});
  if (is_set && node.index / 8 < node.vector.size()) {
    node.vector[node.index / 8] = static_cast<std::byte>(1u << (node.index % 8));
  }
  return {.word = is_set ? std::uint64_t{1} << ((node.index + epoch) % kWordBits) : 0,
          .vector = node.vector,
          .signature = node.signature(),
          .site = 0};
}

const Cluster::Result& Cluster::expected(Epoch epoch) {
  const auto [found, is_new] = expected_.try_emplace(epoch);
  Result& result = found->second;
  if (!is_new) return result;
  Node scratch;
  result.vector.assign(vector_length(epoch), std::byte{0});
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    scratch.index = node;
    const engine::Contribution one = contribution(scratch, epoch);
    result.word |= one.word;
    for (std::size_t i = 0; i < one.vector.size(); ++i) result.vector[i] |= one.vector[i];
  }
  return result;
}

// -- faults

void Cluster::plan(Nanos time, Network::Action action) {
  horizon_ = std::max(horizon_, time);
  network_.at(time, std::move(action));
}

bool Cluster::postpone(Node& node, const Network::Action& action) {
  if (network_.now() >= node.stalled_until) return false;
  network_.at(node.stalled_until, action);
  return true;
}

void Cluster::delay_arrival(Rank rank, Epoch epoch, Nanos time) {
  delays_[{rank, epoch}] = time;
}

void Cluster::misplace(NodeIndex node, Epoch epoch) {
  misplaced_[{node, epoch}] = 1;
}

void Cluster::ask_at(Nanos time, NodeIndex index) {
  plan(time, [this, index] {
    Node& node = *nodes_[index];
    if (node.is_gone() || is_settled(node)) return;
    ask(node, fates_[index].completed + 1);
  });
}

void Cluster::ask(Node& node, Epoch epoch) {
  first_asked_.try_emplace(epoch, network_.now());
  node.exchange->ask(epoch, network_.now(), node.output);
  observe(node);
}

void Cluster::stall(NodeIndex node, Nanos since, Nanos until) {
  plan(since, [this, node, until] { nodes_[node]->stalled_until = until; });
  horizon_ = std::max(horizon_, until);
}

void Cluster::kill(NodeIndex index, Nanos time, std::optional<NodeIndex> told) {
  plan(time, [this, index, told] {
    nodes_[index]->is_dead = true;
    for (NodeIndex other = 0; other < scenario_.nodes; ++other) {
      if (other == index) continue;
      if (random_.below(2) == 0) network_.forget(index, other);
      if (told && other != *told) continue;
      plan(network_.now() + random_.between(0, scenario_.grace / 2),
           [this, index, other] { tell_lost(index, other); });
    }
  });
}

void Cluster::leave(Node& node) {
  node.has_left = true;
  node.exchange->leave(node.output);
  post_output(node);
  for (NodeIndex other = 0; other < scenario_.nodes; ++other) {
    if (other == node.index) continue;
    plan(network_.last_arrival(node.index, other) + 1,
         [this, index = node.index, other] { tell_lost(index, other); });
  }
}

void Cluster::tell_lost(NodeIndex lost, NodeIndex told) {
  Node& node = *nodes_[told];
  if (node.is_gone()) return;
  if (postpone(node, [this, lost, told] { tell_lost(lost, told); })) return;
  node.exchange->lose(lost, network_.now(), node.output);
  observe(node);
}

// -- the program that every rank runs

void Cluster::schedule_arrivals(Node& node, Epoch epoch) {
  for (const Rank rank : node.ranks) {
    Nanos time = network_.now() + random_.between(0, scenario_.think_max);
    if (const auto delay = delays_.find({rank, epoch}); delay != delays_.end()) {
      if (delay->second == kNever) continue;
      time = std::max(time, delay->second);
    }
    plan(time, [this, &node, rank, epoch] { arrive(node, rank, epoch); });
  }
}

void Cluster::arrive(Node& node, Rank rank, Epoch epoch) {
  if (node.is_gone()) return;
  if (postpone(node, [this, &node, rank, epoch] { arrive(node, rank, epoch); })) return;
  if (fates_[node.index].verdict) return;  // a broken group refuses the call
  const bool is_first =
      std::find(node.arrived.begin(), node.arrived.end(), epoch) == node.arrived.end();
  node.arrived[rank - node.ranks.front()] = epoch;
  node.is_misplaced = misplaced_.contains({node.index, epoch});
  arrivals_[epoch][rank] = network_.now();
  last_change_ = network_.now();
  if (is_first && scenario_.deadline != kNever) {
    network_.at(after(network_.now(), scenario_.deadline),
                [this, &node, epoch] { expire(node, epoch); });
  }
  if (std::find(node.arrived.begin(), node.arrived.end(), epoch - 1) != node.arrived.end()) return;
  node.entered = epoch;
  ++entered_[epoch];
  node.exchange->enter(epoch, contribution(node, epoch), network_.now(), node.output);
  observe(node);
}

void Cluster::expire(Node& node, Epoch epoch) {
  const Fate& fate = fates_[node.index];
  if (node.is_gone() || fate.verdict || fate.completed >= epoch) return;
  if (postpone(node, [this, &node, epoch] { expire(node, epoch); })) return;
  ask(node, epoch);
  network_.at(network_.now() + 2 * scenario_.grace, [this, &node, epoch] { expire(node, epoch); });
}

void Cluster::deliver(NodeIndex from, NodeIndex to, const engine::Frame& frame) {
  Node& node = *nodes_[to];
  if (node.is_gone()) return;
  if (network_.now() < node.stalled_until) {
    std::vector<std::byte> bytes(engine::kHeaderSize + frame.payload.size());
    engine::encode(frame, bytes);
    network_.at(node.stalled_until, [this, from, to, bytes = std::move(bytes)] {
      deliver(from, to, *engine::decode(bytes));
    });
    return;
  }
  if (!node.exchange->receive(frame, network_.now(), node.output)) {
    complain(node, fmt::format("rejects a frame of type {} from node {}",
                               static_cast<int>(frame.type), from));
  }
  observe(node);
}

void Cluster::tick() {
  const std::uint32_t first = random_.below(scenario_.nodes);
  bool is_unsettled = false;
  for (std::uint32_t i = 0; i < scenario_.nodes; ++i) {
    Node& node = *nodes_[(first + i) % scenario_.nodes];
    if (!node.is_gone() && network_.now() >= node.stalled_until) {
      node.exchange->tick(network_.now(), node.output);
      observe(node);
    }
    is_unsettled = is_unsettled || !is_settled(node);
  }
  if (has_hope() && (is_unsettled || network_.flying() > 0 || network_.now() < horizon_)) {
    network_.at(network_.now() + scenario_.grace / 4, [this] { tick(); });
  }
}

void Cluster::run() {
  for (const auto& node : nodes_) schedule_arrivals(*node, 1);
  network_.at(scenario_.grace / 4, [this] { tick(); });
  while (network_.step() && has_hope()) {
  }
}

bool Cluster::has_hope() const {
  // Long enough for a deadline, a stale freeze, the question after it, and all that once more.
  // Callers that are stuck ask for ever, so the queue of events does not run dry by itself.
  const Nanos patience =
      20 * scenario_.grace + (scenario_.deadline == kNever ? 0 : 2 * scenario_.deadline);
  return network_.now() < std::max(horizon_, last_change_) + patience;
}

// -- judgement

void Cluster::complain(const Node& node, const std::string& what) {
  constexpr std::size_t kEnough = 20;
  if (wrongs_.size() >= kEnough) return;
  wrongs_.push_back(fmt::format("{:.3f} ms: node {} {}",
                                static_cast<double>(network_.now()) / kMillisecond, node.index,
                                what));
}

void Cluster::post_output(Node& node) {
  for (const engine::Outgoing& outgoing : node.output) {
    if (outgoing.frame.type == engine::FrameType::ask) {
      first_asked_.try_emplace(outgoing.frame.epoch, network_.now());
    }
    network_.post(node.index, outgoing.peer, outgoing.frame);
  }
  node.output.clear();
}

void Cluster::observe(Node& node) {
  post_output(node);
  const engine::ExchangeState state = node.exchange->state();
  Fate& fate = fates_[node.index];
  if (state == engine::ExchangeState::complete && fate.completed != node.entered) on_complete(node);
  if (state == engine::ExchangeState::broken && !fate.verdict) on_broken(node);
}

void Cluster::check_result(Node& node) {
  const Result& all = expected(node.entered);
  if (node.exchange->word() != all.word) {
    complain(node, fmt::format("has word {:x} in epoch {}, not {:x}", node.exchange->word(),
                               node.entered, all.word));
  }
  const std::span<const std::byte> vector = node.exchange->vector();
  if (!std::equal(vector.begin(), vector.end(), all.vector.begin(), all.vector.end())) {
    complain(node, fmt::format("has a wrong vector in epoch {}", node.entered));
  }
}

void Cluster::on_complete(Node& node) {
  Fate& fate = fates_[node.index];
  fate.completed = node.entered;
  fate.ended = last_change_ = network_.now();
  if (entered_[node.entered] != scenario_.nodes) {
    complain(node, fmt::format("leaves epoch {} when {} of {} nodes have entered it", node.entered,
                               entered_[node.entered], scenario_.nodes));
  }
  check_result(node);
  if (node.entered < scenario_.epochs) {
    schedule_arrivals(node, node.entered + 1);
  } else if (scenario_.leaves_when_done) {
    leave(node);
  }
}

void Cluster::on_broken(Node& node) {
  Fate& fate = fates_[node.index];
  fate.verdict = node.exchange->verdict();
  fate.broken_in = fate.completed + 1;
  fate.ended = last_change_ = network_.now();
}

bool Cluster::is_settled(const Node& node) const {
  const Fate& fate = fates_[node.index];
  if (node.is_gone() || fate.verdict || fate.completed == scenario_.epochs) return true;
  return std::find(node.arrived.begin(), node.arrived.end(), fate.completed + 1) ==
         node.arrived.end();
}

std::vector<NodeIndex> Cluster::stuck() const {
  std::vector<NodeIndex> found;
  for (const auto& node : nodes_) {
    if (!is_settled(*node)) found.push_back(node->index);
  }
  return found;
}

bool Cluster::is_dead(NodeIndex node) const {
  return nodes_[node]->is_dead;
}

bool Cluster::all_completed(Epoch epoch) const {
  return std::all_of(fates_.begin(), fates_.end(),
                     [epoch](const Fate& fate) { return fate.completed >= epoch; });
}

bool Cluster::is_of_one_mind() const {
  Epoch completed = 0;
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    if (!is_dead(node)) completed = std::max(completed, fates_[node].completed);
  }
  return std::none_of(fates_.begin(), fates_.end(), [completed](const Fate& fate) {
    return fate.broken_in && *fate.broken_in <= completed;
  });
}

bool Cluster::has_one_verdict() const {
  std::optional<std::vector<std::byte>> first;
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    if (is_dead(node) || !fates_[node].verdict) continue;
    const std::vector<std::byte> coded = engine::encode_verdict(*fates_[node].verdict);
    if (!first) first = coded;
    if (*first != coded) return false;
  }
  return true;
}

std::string Cluster::text() const {
  std::string text;
  for (NodeIndex node = 0; node < scenario_.nodes; ++node) {
    const Fate& fate = fates_[node];
    text += fmt::format("node {}{} has completed {}", node, is_dead(node) ? " (dead)" : "",
                        fate.completed);
    if (fate.verdict) {
      text += fmt::format(", at {:.3f} ms verdict {} on epoch {}, missing [{}] {}",
                          static_cast<double>(fate.ended) / kMillisecond,
                          static_cast<int>(fate.verdict->cause), fate.verdict->epoch,
                          fate.verdict->missing.text(), fate.verdict->text);
    }
    text += '\n';
  }
  return text;
}

RankSet Cluster::absent(Epoch epoch, Nanos time) const {
  RankSet ranks;
  for (Rank rank = 0; rank < arrivals_[epoch].size(); ++rank) {
    if (arrivals_[epoch][rank] > time) ranks.append(rank);
  }
  return ranks;
}

Nanos Cluster::first_asked(Epoch epoch) const {
  const auto found = first_asked_.find(epoch);
  return found == first_asked_.end() ? kNever : found->second;
}

Nanos Cluster::first_broken() const {
  Nanos first = kNever;
  for (const Fate& fate : fates_) {
    if (fate.verdict) first = std::min(first, fate.ended);
  }
  return first;
}

}  // namespace lockstep::sim
