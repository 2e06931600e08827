// Production exchanges, one per node, against each other on a simulated network, under observation.
//
// Every rank runs the same program: arrive at epoch 1, wait, think, arrive at epoch 2, and so on. A
// node enters an epoch when all its ranks have arrived. A rank that has waited longer than the
// deadline makes its node ask, and again every two graces, as the runtime does. The cluster watches
// every step from outside, where everything can be seen, and keeps what it finds wrong.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/exchange.hpp"
#include "tests/sim/network.hpp"

namespace lockstep::sim {

enum class Topology { tree, dissemination };

/// What one run is made of; faults come on top.
struct Scenario {
  std::uint32_t nodes = 1;
  std::uint32_t ranks_per_node = 1;
  Topology topology = Topology::tree;
  std::uint32_t radix = 2;
  Epoch epochs = 1;
  Nanos think_max =
      50 * kMicrosecond;  ///< longest time between leaving an epoch and arriving at the next
  Nanos deadline = kNever;
  Nanos grace = 10 * kMillisecond;
  Weather weather = {};
  bool has_vectors = true;
  bool leaves_when_done =
      false;  ///< a node that has finished its last epoch closes its connections

  std::string text() const;
};

/// The lasting facts about one node, seen from outside.
struct Fate {
  Epoch completed = 0;             ///< last epoch completed
  std::optional<Epoch> broken_in;  ///< epoch that its ranks were in, or about to enter
  std::optional<engine::Verdict> verdict;
  Nanos ended = 0;  ///< time of the last completion or of the verdict
};

class Cluster {
 public:
  Cluster(const Scenario& scenario, std::uint64_t seed);
  ~Cluster();

  // -- faults; before run()
  /// The rank does not arrive at `epoch` before `time`; kNever: not at all.
  void delay_arrival(Rank rank, Epoch epoch, Nanos time);
  /// All ranks of the node are in another call in `epoch`.
  void misplace(NodeIndex node, Epoch epoch);
  /// The deadline of a member that waits on this node at that time, on top of the regular ones.
  void ask_at(Nanos time, NodeIndex node);
  /// The node neither receives nor ticks between these times; what it gets meanwhile waits.
  void stall(NodeIndex node, Nanos since, Nanos until);
  /// The node dies; the others, or only `told`, are told so within half a grace, each at its own
  /// time. What it has sent shortly before may or may not arrive.
  void kill(NodeIndex node, Nanos time, std::optional<NodeIndex> told = std::nullopt);
  void cut(const Cut& cut) { network_.cut(cut); }

  /// Until everybody is done and the network is silent, or nothing helps.
  void run();

  // -- what came of it
  /// Broken safety promises, in words: left too early, a wrong result, two fates of one epoch.
  const std::vector<std::string>& wrongs() const noexcept { return wrongs_; }
  /// Live nodes that somebody waits in although everything has been tried.
  std::vector<NodeIndex> stuck() const;
  const Fate& fate(NodeIndex node) const { return fates_[node]; }
  bool is_dead(NodeIndex node) const;
  bool all_completed(Epoch epoch) const;
  /// Nobody completed `epoch` where somebody else broke in it. Kept out of wrongs(): with a node
  /// that dies during a census it is more than is promised.
  bool is_of_one_mind() const;
  /// All live nodes that are broken hold the same verdict.
  bool has_one_verdict() const;
  const Network& network() const noexcept { return network_; }
  /// All fates, one line per node, for whoever has to find out why.
  std::string text() const;

  // -- what a fair verdict on an epoch may say
  /// Ranks that had not arrived at `epoch` at `time`.
  RankSet absent(Epoch epoch, Nanos time) const;
  /// When somebody first asked about the epoch, and when somebody first broke in it.
  Nanos first_asked(Epoch epoch) const;
  Nanos first_broken() const;

 private:
  struct Node;
  struct Result {
    std::uint64_t word = 0;
    std::vector<std::byte> vector;
  };
  const Result& expected(Epoch epoch);

  engine::Exchange::Setup setup_of(NodeIndex node) const;
  engine::Contribution contribution(Node& node, Epoch epoch) const;
  bool sets_bit(NodeIndex node, Epoch epoch) const;
  std::size_t vector_length(Epoch epoch) const;
  void check_result(Node& node);

  void schedule_arrivals(Node& node, Epoch epoch);
  void arrive(Node& node, Rank rank, Epoch epoch);
  void expire(Node& node, Epoch epoch);
  void ask(Node& node, Epoch epoch);
  void deliver(NodeIndex from, NodeIndex to, const engine::Frame& frame);
  void tick();
  void tell_lost(NodeIndex lost, NodeIndex told);
  /// Runs `action` at `time`, which is planned and not a consequence.
  void plan(Nanos time, Network::Action action);
  /// For a node that is stalled: does `action` when it goes on, and says true.
  bool postpone(Node& node, const Network::Action& action);
  void leave(Node& node);
  void post_output(Node& node);
  /// Carries `output` away and looks at what the call into the exchange has changed.
  void observe(Node& node);
  void on_complete(Node& node);
  void on_broken(Node& node);
  bool is_settled(const Node& node) const;
  bool has_hope() const;
  void complain(const Node& node, const std::string& what);

  Scenario scenario_;
  std::uint64_t seed_;
  Random random_;
  Network network_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Fate> fates_;
  std::map<std::pair<Rank, Epoch>, Nanos> delays_;
  std::map<std::pair<NodeIndex, Epoch>, std::uint32_t> misplaced_;
  std::vector<std::vector<Nanos>> arrivals_;  ///< per epoch, per rank
  std::vector<std::uint32_t> entered_;        ///< per epoch: nodes
  std::map<Epoch, Result> expected_;
  std::map<Epoch, Nanos> first_asked_;
  std::vector<std::string> wrongs_;
  Nanos horizon_ = 0;      ///< nothing is planned for later than this
  Nanos last_change_ = 0;  ///< last arrival, completion or verdict
};

}  // namespace lockstep::sim
