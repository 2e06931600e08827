// How the outcomes of a group's sections become known on all its nodes, as one node's speaker sees
// it: facts and time in, frames out. Pure.
//
// The normal course: whoever went first hands its record to its node's speaker; it travels down a
// tree; nobody waits for anybody. On the first's own node the record counts once another node has
// it: a record that only a dying node has seen must not have had readers.
//
// The other course: who went first is gone. One node decides, the lowest that is there; others tell
// it so. It asks all: a node with a record answers with it, and the others promise to take this
// attempt's record from nobody else. If any node has it, that is the outcome; if none, the attempt
// ended with a dead first. (Of two that decide at once the lower one does. Nodes that cannot hear
// each other may decide differently, as in rounds.) Whoever waits for long asks around, so no lost
// frame and no node that died before it had passed a record on leaves anybody behind.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/attempt.hpp"
#include "runtime/base/time.hpp"
#include "runtime/engine/agreement.hpp"
#include "runtime/engine/exchange.hpp"

namespace lockstep::engine {

/// The records that this node has; they outlive its speaker.
class OutcomeStore {
 public:
  struct Kept {
    Attempt attempt;
    std::string record;
    bool is_released;  ///< members here may have read it
  };
  virtual ~OutcomeStore() = default;
  /// The record of this attempt, or of a later one of its section.
  virtual std::optional<Kept> find(Attempt attempt) const = 0;
  /// From another node. `is_decided`: replaces one that nobody here has read yet.
  virtual void keep(Attempt attempt, std::string_view record, bool is_decided) = 0;
  /// Members here may read what one of them has published.
  virtual void release(Attempt attempt) = 0;
  /// Does this member run here?
  virtual bool is_alive(Rank group_rank) const = 0;
};

class Outcomes : public Presence {
 public:
  /// A process that speaks for its node since the one before it was lost.
  struct Newcomer {
    NodeIndex node = 0;
    Rank rank = 0;
    std::string address;
    std::uint64_t succession = 0;  ///< how many spoke for that node before it
  };
  struct Setup {
    GroupId group;
    NodeIndex self;                  ///< this node within the group
    std::vector<Rank> speakers;      ///< job rank that speaks for each node
    std::vector<Rank> members;       ///< job ranks; member n goes first in attempt n
    std::vector<NodeIndex> node_of;  ///< of each member
    Nanos grace;                     ///< how long answers may take
    bool is_successor = false;       ///< of a speaker that died
    /// Speakers whose address only those who speak for a node know: whoever comes later is told.
    std::vector<Newcomer> newcomers{};
    std::vector<bool> is_known{};  ///< per node: all members know where its first speaker is;
                                   ///< empty: so it is for all nodes
  };

  Outcomes(Setup setup, OutcomeStore& store);

  /// A member here has ended its section; the store has the record already.
  void publish(Attempt attempt, std::string_view record, Nanos now, Output& out);
  /// Members here wait for this attempt; said again and again while they do.
  /// @param is_gone   Its first is known to be dead.
  /// @param if_dead   The record to decide on, should nobody have another.
  void inquire(Attempt attempt, bool is_gone, std::string_view if_dead, Nanos now, Output& out);
  /// Whoever goes first after another one speaks for its node, and asks before it begins: others
  /// may have taken it for dead when they did not hear of it.
  void take_turn(Attempt attempt, Nanos now, Output& out);
  /// It may begin; or the store has a record by now.
  bool has_turn(Attempt attempt) const noexcept { return turn_ == attempt; }
  /// False: the frame does not belong here.
  bool receive(const Frame& frame, Nanos now, Output& out);
  /// `node` has lost its speaker; it has another if it says hello.
  void lose(NodeIndex node, Nanos now, Output& out);
  /// Nobody has told this process yet where that node's speaker can be reached.
  void miss_address(NodeIndex node, Nanos now, Output& out);
  bool knows_all() const noexcept { return unknown_.empty(); }
  /// All members know where this node's speaker is, so that whoever speaks for another one finds
  /// it.
  bool is_anchor(NodeIndex node) const noexcept override;
  /// All know the first speakers by now.
  void make_all_known() { setup_.is_known.clear(); }

  const std::map<NodeIndex, Newcomer>& newcomers() const noexcept { return welcomed_; }
  /// This process is one: tells all others where it can be reached.
  void say_hello(std::string_view address, std::uint64_t succession, Output& out);
  /// Those who have said hello; they are to be connected, and then welcomed.
  std::vector<Newcomer> take_newcomers();
  /// From now on it speaks for its node. Those who have come like it are told of each other: they
  /// know only who spoke at first.
  void welcome(const Newcomer& newcomer, Nanos now, Output& out);
  void tick(Nanos now, Output& out);

  const Setup& setup() const noexcept { return setup_; }
  std::optional<NodeIndex> node_of(Rank speaker) const noexcept;
  // Presence
  bool is_there(NodeIndex node) const noexcept override { return !lost_[node].is_lost; }
  bool is_given_up(NodeIndex node, Nanos now) const noexcept override;
  /// Its only member spoke for it, and is lost.
  bool is_empty(NodeIndex node) const noexcept { return lost_[node].is_lost && !has_more_[node]; }
  /// Something is under way that needs tick() soon.
  bool is_busy() const noexcept {
    return !questions_.empty() || !unconfirmed_.empty() || wanted_turn_.attempt.section != 0;
  }

 private:
  struct Loss {
    bool is_lost = false;
    Rank speaker = kNoRank;  ///< the one that was lost
    Nanos since = 0;
  };
  /// What members here wait for, and whom that was said to.
  struct Inquiry {
    Nanos next_at = 0;
    Nanos pause = 0;
    NodeIndex asked = 0;
    bool asked_first = false;
    NodeIndex decider = 0;
    Nanos decider_until = 0;
  };
  /// This node decides.
  struct Question {
    std::string if_dead;
    std::vector<bool> answered;
    std::size_t answers = 0;
    Nanos until = 0;
    Nanos ask_again_at = 0;
  };
  /// The promise to take an attempt's record from nobody else.
  struct Promise {
    NodeIndex by = 0;
    Nanos until = 0;
  };
  struct Unconfirmed {
    std::string record;
    NodeIndex asked = 0;
    Nanos next_at = 0;
  };

  void spread(Attempt attempt, std::string_view record, Nanos now, Output& out);
  void ask_for_turn(Nanos now, Output& out);
  bool dispatch(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_hello(const Frame& frame);
  void introduce(const Newcomer& newcomer, NodeIndex to, Output& out);
  Frame make(FrameType type, Attempt attempt) const noexcept;
  std::span<const std::byte> hold(std::string_view payload);
  void post(NodeIndex node, FrameType type, Attempt attempt, std::uint16_t flags,
            std::string_view payload, Output& out);
  void post_all(FrameType type, Attempt attempt, std::uint16_t flags, std::string_view payload,
                Output& out);
  void send_down(NodeIndex root, NodeIndex from, const Frame& frame, Output& out);
  NodeIndex lowest() const noexcept;
  std::optional<NodeIndex> another(NodeIndex after) const noexcept;
  std::optional<NodeIndex> anchor() const noexcept;
  bool is_known_dead(Attempt attempt, Nanos now) const;
  bool is_promised(Attempt attempt, Nanos now) const;
  void start_question(Attempt attempt, std::string_view if_dead, Nanos now, Output& out);
  void give_up_on(NodeIndex node, Nanos now, Output& out);
  void count_answer(Attempt attempt, NodeIndex from, Output& out);
  void decide(Attempt question, Attempt found, std::string_view record, Output& out);
  void forget(Attempt attempt);
  void answer(NodeIndex to, Attempt question, std::uint16_t flags, const OutcomeStore::Kept& kept,
              Output& out);
  void on_ask(NodeIndex from, Attempt attempt, const Frame& frame, Nanos now, Output& out);
  void on_answer(NodeIndex from, Attempt attempt, const Frame& frame, Output& out);
  void on_outcome(NodeIndex from, Attempt attempt, const Frame& frame, Nanos now, Output& out);

  Setup setup_;
  OutcomeStore& store_;
  std::vector<Loss> lost_;
  std::set<NodeIndex> unknown_;
  std::vector<std::uint64_t> successions_;  ///< of each node's speaker, as far as is known
  std::optional<Newcomer> own_;             ///< this process, if it is one
  std::vector<bool> has_more_;              ///< per node: members beside its speaker
  std::map<Attempt, Inquiry> inquiries_;
  std::map<Attempt, Question> questions_;
  std::map<Attempt, Promise> promises_;
  std::map<Attempt, Unconfirmed> unconfirmed_;
  struct WantedTurn {
    Attempt attempt;
    NodeIndex asked = 0;
    Nanos ask_again_at = 0;
  };
  WantedTurn wanted_turn_;
  Attempt turn_;
  /// An address as far as it has come: in two pieces at most, in any order.
  struct HalfHello {
    NodeIndex node = 0;
    std::uint64_t length = 0;
    std::uint64_t succession = 0;
    std::array<std::string, 2> pieces;
  };
  static_assert(LOCKSTEP_ADDRESS_MAX <= 2 * kPayloadMax);
  std::map<Rank, HalfHello> half_hellos_;
  std::vector<Newcomer> newcomers_;
  /// What has come from a process that will have said hello: it may be on its way, or not welcome
  /// yet.
  struct Early {
    Frame frame;
    std::string payload;
  };
  std::vector<Early> early_;
  std::map<NodeIndex, Newcomer> welcomed_;
  std::deque<std::string> payloads_;  ///< of the frames being sent
};

}  // namespace lockstep::engine
