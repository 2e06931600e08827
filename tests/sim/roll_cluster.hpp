// Ranks that call the roll on a simulated network: production boards, agreements and successions of
// speakers, and answers that are compared from outside.
//
// A rank does what Group::call_roll() and those below it do, and whoever speaks for a node does
// what Speaker does, in steps between which others may act and anybody may die.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/progress/rolls.hpp"
#include "tests/sim/network.hpp"

namespace lockstep::sim {

struct RollScenario {
  std::uint32_t nodes = 1;
  std::uint32_t ranks_per_node = 1;
  std::uint32_t calls = 1;        ///< one after the other
  Nanos time = 5 * kMillisecond;  ///< within which they call it
  Nanos pause = 0;                ///< between two calls
  Nanos deadline = 5 * kSecond;
  Nanos grace = kSecond;
  Nanos notice = 10 * kMillisecond;  ///< the longest it takes to hear of a lost process
  Weather weather{};

  std::map<Rank, Nanos> late;                ///< calls then, or never; the others within `time`
  std::map<Rank, Nanos> deaths;              ///< whatever they are doing
  std::map<Rank, std::uint32_t> last_words;  ///< dies with so many sendings; some do not leave
  struct Still {
    Nanos since;
    Nanos until;
  };
  std::map<Rank, Still> still;  ///< stopped, and neither hears nor says anything
  std::set<Rank> on_duty;       ///< speaks if nobody does, whether the roll is called or not
  std::set<NodeIndex> unknown;  ///< only speakers know the address of this node's first one

  std::uint32_t size() const noexcept { return nodes * ranks_per_node; }
  std::string text() const;
};

class RollCluster {
 public:
  RollCluster(const RollScenario& scenario, std::uint64_t seed);
  ~RollCluster();

  void run();
  /// Broken promises, in words.
  std::vector<std::string> wrongs() const;
  std::string text() const;
  std::uint64_t posted() const noexcept { return posted_; }

 private:
  struct Page;
  struct Talker;
  struct Process;
  struct Answer {
    enum class Kind { none, present, left_out, not_agreed };
    Kind kind = Kind::none;
    std::vector<Rank> present;
    Nanos called_at = kNever;
    Nanos time = kNever;
  };
  /// One roll call: what everybody was told.
  struct Call {
    std::vector<bool> members;  ///< who has been in all of those before
    std::vector<Answer> answers;
    Nanos start = 0;
    Nanos hurried_at = kNever;
  };

  std::uint32_t each() const noexcept { return scenario_.ranks_per_node; }
  NodeIndex node_of(Rank rank) const noexcept { return rank / each(); }
  Rank first_of(NodeIndex node) const noexcept { return node * each(); }
  bool is_wide() const noexcept { return scenario_.nodes > 1; }
  bool is_dead(Rank rank) const;
  bool is_speaker(Rank rank) const;
  /// Until when this rank stands still; 0: it does not.
  Nanos still_until(Rank rank) const;
  Answer& answer_of(Rank rank) { return calls_.back().answers[rank]; }

  // A rank in a roll call.
  void act(Rank rank, Nanos delay, Network::Action action);
  void start_call(std::vector<bool> members);
  void call(Rank rank);
  void look(Rank rank);
  void expire(Rank rank);
  void see_to_roll(Rank rank);
  void speak_for_those_left(Rank rank);
  bool is_over(Rank rank) const;
  void read(Rank rank);
  void end(Rank rank, Answer::Kind kind, std::vector<Rank> present);
  void go_on_telling(Rank rank, std::size_t call);
  void go_on();
  // Whoever speaks for a node.
  engine::Outcomes::Setup setup_for(Rank rank, bool is_successor) const;
  void stand_by(Rank rank);
  void take_over(Rank rank);
  void beat(Rank rank);
  void tick(Rank rank);
  void send(Rank rank);
  void deliver(Rank to, const engine::Frame& frame);
  void tell_lost(Rank rank, Rank dead);
  void kill(Rank rank, bool forgets);
  // What was promised.
  bool has_anchor() const;
  bool is_easy() const;
  void judge_set(const Call& call, Rank rank, std::vector<std::string>& wrongs) const;
  void judge_call(const Call& call, std::vector<std::string>& wrongs) const;

  RollScenario scenario_;
  Random random_;
  Network network_;
  std::vector<std::unique_ptr<Page>> pages_;
  std::vector<std::unique_ptr<Process>> ranks_;
  std::vector<Call> calls_;
  std::vector<std::string> wrongs_;
  bool is_done_ = false;
  std::uint64_t posted_ = 0;
};

}  // namespace lockstep::sim
