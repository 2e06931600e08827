// One group's rounds between nodes, as one leader sees them: facts and time in, frames out. Pure.
//
// Facts are monotone: repeated, late or reordered ones change nothing. A round either completes or
// gets one verdict. Rule: if any node has completed the epoch then everybody has entered it, so the
// verdict is "complete" and the result is sent again; otherwise the nodes that were asked freeze
// the epoch (they promise not to complete it) until the one that asked has decided. Of several that
// ask at once the lowest node decides. (That a decider dies in between is left to the verdict
// protocol's next version: a frozen node then asks by itself once the freeze is stale.)
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "runtime/base/rank_set.hpp"
#include "runtime/base/time.hpp"
#include "runtime/engine/frame.hpp"
#include "runtime/engine/verdict.hpp"
#include "runtime/schedule/plan.hpp"

namespace lockstep::engine {

/// What a round ORs together: a word, and a vector where the operation has one.
struct Contribution {
  std::uint64_t word = 0;
  std::span<const std::byte> vector;  ///< same length on every member, at most kPayloadMax
  std::uint32_t signature = 0;        ///< of the call
  std::uint32_t site = 0;             ///< source line
};

/// How this node's own members stand; what a leader answers when it is asked.
struct LocalView {
  RankSet missing;              ///< members here that have not entered the epoch
  std::uint32_t signature = 0;  ///< of the call some member here is in; 0: nobody has entered
  std::string site;             ///< that call in words
};

class LocalViewSource {
 public:
  virtual ~LocalViewSource() = default;
  virtual LocalView local_view(Epoch epoch) const = 0;
};

/// A frame to be sent. Its payload stays valid until the next call into the exchange.
struct Outgoing {
  NodeIndex peer;
  Frame frame;
};
using Output = std::vector<Outgoing>;

enum class ExchangeState { idle, open, complete, broken };

class Exchange {
 public:
  struct Setup {
    GroupId group;
    std::uint64_t session;
    NodeIndex self;                ///< this node within the group
    std::vector<RankSet> members;  ///< job ranks of the group on each of its nodes
    std::vector<Rank> leaders;     ///< job rank that speaks for each node
    std::vector<std::string> hosts;
    schedule::Plan plan;
    Nanos grace;  ///< how long answers may take
  };

  Exchange(Setup setup, const LocalViewSource& local);

  /// Opens the next epoch. Precondition: state is idle or complete, and epoch is the last one + 1.
  void enter(Epoch epoch, const Contribution& mine, Nanos now, Output& out);
  /// A frame of this group from one of its leaders; false if it does not belong here.
  bool receive(const Frame& frame, Nanos now, Output& out);
  /// `node` cannot be reached any more.
  void lose(NodeIndex node, Nanos now, Output& out);
  /// Somebody here has waited too long for `epoch`: find out who is missing, then decide.
  void ask(Epoch epoch, Nanos now, Output& out);
  /// Ends what answers are too late for, and freezes that nobody lifts.
  void tick(Nanos now, Output& out);
  /// This node's own verdict (a mismatch among its own members), told to all nodes.
  void fail(Verdict verdict, Output& out);

  /// This node goes and cannot be asked any more: hands the last result to those it sends to, one
  /// of whom everybody can ask, or is.
  void leave(Output& out);

  ExchangeState state() const noexcept { return state_; }
  bool is_asking() const noexcept { return census_.epoch != 0; }
  /// Valid while complete: what the epoch combined.
  std::uint64_t word() const noexcept { return inbox(epoch_).word; }
  std::span<const std::byte> vector() const noexcept { return inbox(epoch_).bytes(); }
  /// Valid while broken.
  const Verdict& verdict() const noexcept { return verdict_; }
  const Setup& setup() const noexcept { return setup_; }

 private:
  /// What was heard of one epoch. Two suffice: nobody can be two epochs ahead of anybody.
  struct Inbox {
    Epoch epoch = 0;
    std::uint64_t word = 0;
    std::uint32_t length = 0;
    std::array<std::byte, kPayloadMax> vector{};

    void add(std::uint64_t more, std::span<const std::byte> bytes) noexcept;
    std::span<const std::byte> bytes() const noexcept { return std::span(vector).first(length); }
  };
  struct Heard {
    Epoch epoch = 0;
    std::uint32_t signature = 0;
  };
  struct Wait {
    NodeIndex peer;
    std::uint16_t round;
    std::array<Heard, 2> heard;  ///< by parity, like the inboxes: a newer fact hides no older one
  };
  /// The promise not to complete an epoch before somebody has decided.
  struct Freeze {
    Epoch epoch = 0;  ///< 0: none
    NodeIndex by = 0;
    Nanos until = 0;
  };
  struct Census {
    Epoch epoch = 0;           ///< 0: none
    bool is_deadline = false;  ///< else an inquiry: who has not come yet is not missing
    Nanos until = 0;
    std::size_t answers = 0;
    std::vector<bool> answered;
    RankSet late;  ///< alive, but have not entered
    RankSet gone;  ///< of nodes that are lost or do not answer
    std::string text;
    bool is_mismatch = false;
    bool is_truncated = false;
    std::uint32_t signature = 0;
    std::string site;
    std::size_t entered = 0;  ///< nodes whose contribution `sum` holds
    Inbox sum;
  };

  Inbox& inbox(Epoch epoch) noexcept { return inboxes_[epoch & 1]; }
  const Inbox& inbox(Epoch epoch) const noexcept { return inboxes_[epoch & 1]; }
  Inbox& fresh_inbox(Epoch epoch) noexcept;
  Freeze& freeze(Epoch epoch) noexcept { return freezes_[epoch & 1]; }
  Frame make(FrameType type, Epoch epoch) const noexcept;
  Frame resume(Epoch epoch) const;
  void send_all(const Frame& frame, Output& out);
  void send_fact(const schedule::Step& step, Output& out);
  void advance(Output& out);
  void notice(Nanos now, Output& out);
  std::optional<NodeIndex> node_of(Rank leader) const noexcept;
  bool has_heard(NodeIndex node, Epoch epoch) const noexcept;
  bool is_waiting_for(NodeIndex node) const noexcept;

  bool on_fact(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_ask(NodeIndex from, const Frame& frame, Nanos now, Output& out);
  void on_answer(NodeIndex from, const Frame& frame, Output& out);
  void on_resume(NodeIndex from, const Frame& frame, Output& out);
  void on_broken(const Frame& frame, Nanos now, Output& out);

  void take_census(Epoch epoch, bool is_deadline, Nanos now, Output& out);
  void add_view(NodeIndex node, const LocalView& view);
  void add_silent(NodeIndex node, const char* why);
  void answer_with_view(NodeIndex to, Frame answer, Output& out);
  void decide(Output& out);
  void adopt(std::uint64_t word, std::span<const std::byte> vector, Output& out);
  void complete(Epoch epoch, std::uint64_t word, std::span<const std::byte> vector, Output& out);
  void follow_up_loss(Nanos now, Output& out);
  void thaw(Epoch epoch, Output& out);

  Setup setup_;
  const LocalViewSource& local_;
  ExchangeState state_ = ExchangeState::idle;
  Epoch epoch_ = 0;      ///< the last epoch entered
  Epoch completed_ = 0;  ///< the last epoch completed
  std::uint32_t signature_ = 0;
  std::uint32_t site_ = 0;
  std::size_t cursor_ = 0;
  std::array<Inbox, 2> inboxes_{};
  std::vector<Wait> waits_;           ///< in plan order
  std::vector<std::size_t> wait_of_;  ///< plan step -> waits_ index
  std::vector<bool> lost_;
  std::uint64_t rank_end_ = 0;  ///< no member has this job rank or a higher one
  Nanos inquire_at_ = kNever;   ///< set by a loss that this node does not wait for
  Census census_;
  std::uint32_t question_ = 0;       ///< number of this node's last question
  std::array<Freeze, 2> freezes_{};  ///< by parity, like the inboxes
  bool stood_still_ = false;
  Nanos noticed_ = 0;  ///< when this node was last seen awake
  Verdict verdict_;
  std::optional<Verdict> next_verdict_;  ///< on the epoch after an open one
  std::vector<std::byte> scratch_;       ///< payload of the frames being sent
};

}  // namespace lockstep::engine
