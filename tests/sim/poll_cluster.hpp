// Ranks that poll at their own pace on a simulated network: production boards and agreements, and
// meetings that are watched from outside.
//
// A rank does in a poll what Group::meets() does, in steps between which others may act. The
// meeting itself is a barrier of the simulator: it tells what every rank had set before it came,
// and breaks when one of them is dead.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/agreement.hpp"
#include "tests/sim/network.hpp"

namespace lockstep::sim {

struct PollScenario {
  std::uint32_t nodes = 1;
  std::uint32_t ranks_per_node = 1;
  Nanos pace_max = 100 * kMicrosecond;  ///< longest time between two polls of a rank
  std::uint32_t sets = 3;               ///< by random ranks, at random moments of the first `time`
  Nanos time = 5 * kMillisecond;
  std::optional<Rank> dies;  ///< this one, at `death`
  Nanos death = 0;
  Weather weather = {};

  std::string text() const;
};

class PollCluster {
 public:
  PollCluster(const PollScenario& scenario, std::uint64_t seed);
  ~PollCluster();

  void run();
  /// Broken promises, in words.
  const std::vector<std::string>& wrongs() const noexcept { return wrongs_; }
  /// That all ranks have come to, and that broke because one was dead.
  std::size_t meetings() const noexcept { return meetings_; }
  bool is_broken() const noexcept { return is_broken_; }
  std::uint64_t posted() const noexcept { return posted_; }

 private:
  struct Node;
  struct Process;
  struct View;

  Rank first_of(NodeIndex node) const noexcept { return node * scenario_.ranks_per_node; }
  NodeIndex node_of(Rank rank) const noexcept { return rank / scenario_.ranks_per_node; }
  bool is_wide() const noexcept { return scenario_.nodes > 1; }
  void later(Nanos most, Network::Action action);
  Nanos pace() const noexcept;
  void poll(Rank rank);
  void look(Rank rank);
  void name_poll(Rank rank);
  void come_to_meeting(Rank rank);
  void hold_meeting();
  void leave_meeting(Rank rank);
  void set(Rank rank);
  void kill(Rank rank);
  void see_to_speaker(Rank rank);
  void tick(NodeIndex node);
  void idle(NodeIndex node);
  void send(NodeIndex from);
  void deliver(NodeIndex from, NodeIndex to, const engine::Frame& frame);
  void judge();

  PollScenario scenario_;
  Random random_;
  Network network_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Process>> ranks_;
  std::vector<std::string> wrongs_;
  std::size_t meetings_ = 0;
  bool is_broken_ = false;
  std::uint64_t posted_ = 0;
};

}  // namespace lockstep::sim
