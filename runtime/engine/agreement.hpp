// How the nodes of a group agree on something that each knows a part of, as one node's speaker sees
// it: facts and time in, frames out. Pure. (docs/decisions/0014, 0019)
//
// The lowest node that is there coordinates. It asks all to hold: each node answers with its part,
// once it has one, and does not change it any more; what comes of all parts is told to all. A
// coordinator that dies is followed by the next, which asks again: a node that has committed
// answers with what it was told, the others promise to take nothing from an earlier ballot. On the
// coordinator's own node nobody learns the result before another node has it.
//
// Where members are in a hurry, nodes do not wait for their members any more, and a node that stays
// silent is left out.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/time.hpp"
#include "runtime/engine/exchange.hpp"
#include "runtime/engine/frame.hpp"

namespace lockstep::engine {

/// Of several coordinators the one with the higher ballot counts.
struct Ballot {
  std::uint32_t count = 0;
  NodeIndex node = 0;

  auto operator<=>(const Ballot&) const = default;
  std::uint64_t packed() const noexcept { return std::uint64_t{count} << 32 | node; }
  static Ballot unpacked(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<NodeIndex>(word)};
  }
};

/// A node's part, or what has come of all of them.
struct AgreementValue {
  std::uint64_t word = 0;
  std::vector<std::byte> bytes;  ///< at most kPayloadMax

  bool operator==(const AgreementValue&) const = default;
};

/// This node's part; it outlives its speaker.
class AgreementStore {
 public:
  using Value = AgreementValue;
  enum class Wish { none, some, at_once };
  virtual ~AgreementStore() = default;
  /// Number of the last agreement that was committed here, and what it was.
  virtual std::uint64_t agreement() const = 0;
  virtual Value agreed() const = 0;
  virtual Ballot promise() const = 0;
  virtual void promise(Ballot ballot) = 0;
  /// Do members here want the next one?
  virtual Wish wants() const = 0;
  /// This node's part, which stands from now on; nothing: it has none yet, which is not allowed
  /// when all are in a hurry.
  virtual std::optional<Value> hold(std::uint64_t agreement, bool at_once) = 0;
  virtual void commit(std::uint64_t agreement, const Value& value) = 0;
  // What comes of the parts.
  virtual void add(Value& sum, const Value& part) const = 0;
  virtual void leave_out(Value& sum, NodeIndex node) const = 0;
  virtual Value conclude(Value sum) const = 0;
};

/// Which nodes have a speaker.
class Presence {
 public:
  virtual ~Presence() = default;
  virtual bool is_there(NodeIndex node) const = 0;
  /// It is not waited for any more: its speaker is lost, and it has no other.
  virtual bool is_given_up(NodeIndex node, Nanos now) const = 0;
  virtual bool can_coordinate(NodeIndex node, Nanos now) const { return !is_given_up(node, now); }
  /// Whoever speaks for any node finds this one's speaker, and hears through it of the others.
  virtual bool is_anchor(NodeIndex /*node*/) const { return true; }
};

class Agreement {
 public:
  using Value = AgreementValue;
  struct Setup {
    GroupId group = 0;
    Rank rank = 0;  ///< job rank of this speaker
    NodeIndex self = 0;
    NodeIndex nodes = 1;
    Nanos grace = kSecond;
    FrameType first = FrameType::poll_raise;  ///< of the five types that it speaks
  };

  Agreement(const Setup& setup, AgreementStore& store, const Presence& presence)
      : setup_(setup), store_(store), presence_(presence) {}

  bool is_for(FrameType type) const noexcept {
    return type >= setup_.first && type <= type_of(Says::receipt);
  }
  void receive(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  /// Says what is wanted here, and again what was not answered.
  void tick(Nanos now, Output& out);
  /// Something is under way that needs tick() soon.
  bool is_busy() const noexcept { return round_.has_value() || is_outbid_ || is_waiting_; }

 private:
  enum class Says : std::uint8_t { raise, hold, held, commit, receipt };
  /// An agreement that this node coordinates.
  struct Round {
    std::uint64_t number = 0;
    Ballot ballot;
    bool is_telling = false;  ///< else it asks
    std::vector<bool> heard;
    Value sum;
    std::optional<Value> result;
    Nanos since = 0;  ///< when it began to ask, or to tell
    Nanos again_at = 0;
  };
  /// The last question that this node had no part for.
  struct Question {
    NodeIndex from = 0;
    std::uint64_t number = 0;
    Ballot ballot;
  };

  FrameType type_of(Says what) const noexcept {
    return static_cast<FrameType>(static_cast<std::uint8_t>(setup_.first) +
                                  static_cast<std::uint8_t>(what));
  }
  std::optional<NodeIndex> coordinator(Nanos now) const;
  std::uint64_t next() const { return store_.agreement() + 1; }
  void hurry(std::uint64_t number, Nanos now);
  bool is_hurried(std::uint64_t number) const noexcept { return hurried_ >= number; }
  Frame make(Says what, std::uint64_t number, Ballot ballot) const;
  Frame make(Says what, std::uint64_t number, Ballot ballot, Value value);
  void turn(Nanos now, Output& out);
  void give_way();
  void start(Nanos now, Output& out);
  void ask(Nanos now, Output& out);
  void tell(Nanos now, Output& out);
  void begin(Nanos now);
  void hear_own();
  void answer(const Question& question, Output& out);
  void refuse(NodeIndex to, const Frame& frame, Output& out) const;
  void post_unheard(const Frame& frame, Output& out) const;
  bool is_done_with(NodeIndex node, Nanos now) const;
  bool has_all(Nanos now) const;
  bool has_told_all(Nanos now) const;
  bool has_another() const;
  bool has_anchor() const;
  void advance(Nanos now, Output& out);
  void on_raise(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_hold(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_held(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_commit(NodeIndex from, const Frame& frame, Output& out);

  Setup setup_;
  AgreementStore& store_;
  const Presence& presence_;
  std::optional<Round> round_;
  std::optional<Question> question_;
  std::uint64_t confirmed_ = 0;        ///< last agreement that all nodes are known to have
  std::uint64_t raised_ = 0;           ///< an agreement that another node wants
  std::uint64_t hurried_ = 0;          ///< an agreement for which somebody is in a hurry,
  Nanos hurried_since_ = 0;            ///< as is known here since then
  bool is_outbid_ = false;             ///< this node's last ballot was too low
  Nanos outbid_again_at_ = 0;          ///< not before then
  std::optional<NodeIndex> asked_by_;  ///< the last coordinator that this node has heard of,
  Nanos asked_at_ = 0;                 ///< and when
  bool is_waiting_ = false;            ///< for the coordinator
  std::uint64_t asked_for_ = 0;  ///< the last agreement that this node asked the coordinator for
  Nanos ask_again_at_ = 0;
  std::deque<Value> sent_;  ///< what the frames being sent borrow
};

}  // namespace lockstep::engine
