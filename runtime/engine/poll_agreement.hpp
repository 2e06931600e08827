// How the nodes of a group agree on the poll in which everybody meets, as one node's speaker sees
// it: facts and time in, frames out. Pure. (docs/decisions/0014)
//
// The lowest node that is there coordinates. It asks all to hold: whoever enters a poll waits
// there; each node answers with the furthest poll that its members have entered, and all meet in
// the one after the furthest of all. A coordinator that dies is followed by the next, which asks
// again: a node that has committed answers with what it was told, the others promise to take
// nothing from an earlier ballot. On the coordinator's own node nobody learns the number before
// another node has it.
#pragma once

#include <compare>
#include <cstdint>
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

/// This node's part; it outlives its speaker.
class PollStore {
 public:
  virtual ~PollStore() = default;
  /// Number of the last agreement that was committed here, and the poll it named.
  virtual std::uint64_t agreement() const = 0;
  virtual std::uint64_t fire() const = 0;
  virtual Ballot promise() const = 0;
  virtual void promise(Ballot ballot) = 0;
  /// Members here have set something, or wait in a poll.
  virtual bool wants() const = 0;
  /// From now on whoever enters a poll waits. Returns the furthest that was entered.
  virtual std::uint64_t hold(std::uint64_t agreement) = 0;
  virtual void commit(std::uint64_t agreement, std::uint64_t fire) = 0;
};

/// Which nodes have a speaker.
class Presence {
 public:
  virtual ~Presence() = default;
  virtual bool is_there(NodeIndex node) const = 0;
  /// Its speaker is lost, and it has no other by now.
  virtual bool is_given_up(NodeIndex node, Nanos now) const = 0;
};

class PollAgreement {
 public:
  struct Setup {
    GroupId group = 0;
    Rank rank = 0;  ///< job rank of this speaker
    NodeIndex self = 0;
    NodeIndex nodes = 1;
    Nanos grace = kSecond;
  };

  PollAgreement(const Setup& setup, PollStore& store, const Presence& presence)
      : setup_(setup), store_(store), presence_(presence) {}

  static bool is_for(FrameType type) noexcept {
    return type >= FrameType::poll_raise && type <= FrameType::poll_receipt;
  }
  void receive(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  /// Says what is wanted here, and again what was not answered.
  void tick(Nanos now, Output& out);
  /// Something is under way that needs tick() soon.
  bool is_busy() const noexcept { return round_.has_value() || is_waiting_; }

 private:
  /// An agreement that this node coordinates.
  struct Round {
    std::uint64_t number = 0;
    Ballot ballot;
    bool is_telling = false;  ///< else it asks
    std::vector<bool> heard;
    std::uint64_t furthest = 0;
    std::optional<std::uint64_t> fire;
    Nanos again_at = 0;
  };

  NodeIndex coordinator(Nanos now) const;
  Frame make(FrameType type, std::uint64_t number, Ballot ballot, std::uint64_t word) const;
  void start(Nanos now, Output& out);
  void ask(Nanos now, Output& out);
  void tell(Nanos now, Output& out);
  void hear_nobody_but_me();
  void refuse(NodeIndex to, const Frame& frame, Output& out) const;
  void post_unheard(const Frame& frame, Output& out) const;
  bool has_all(Nanos now) const;
  bool has_another() const;
  void advance(Nanos now, Output& out);
  void on_hold(NodeIndex from, const Frame& frame, Output& out);
  void on_held(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_commit(NodeIndex from, const Frame& frame, Output& out);

  Setup setup_;
  PollStore& store_;
  const Presence& presence_;
  std::optional<Round> round_;
  std::uint64_t confirmed_ = 0;  ///< last agreement that all nodes are known to have
  std::uint64_t raised_ = 0;     ///< an agreement that another node wants
  bool is_waiting_ = false;      ///< for the coordinator
  std::uint64_t asked_for_ = 0;  ///< the last agreement that this node asked the coordinator for
  Nanos ask_again_at_ = 0;
};

}  // namespace lockstep::engine
