// One exchange on a desk: the test is the network and the other nodes, and looks at every frame.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "runtime/engine/exchange.hpp"

namespace lockstep::engine::test {

using schedule::Plan;
using schedule::Shape;

constexpr Nanos kGrace = 10 * kMillisecond;
constexpr std::uint32_t kSignature = 11;
constexpr std::uint32_t kRanksPerNode = 2;

using Bytes = std::vector<std::byte>;

/// A frame with its payload copied, so that it outlives the call that made it.
struct Sent {
  NodeIndex peer;
  Frame frame;
  Bytes payload;
};

/// One node of a group, with the rest of the world in the test's hands.
class Desk : public LocalViewSource {
 public:
  Desk(NodeIndex self, std::uint32_t nodes, Plan plan, Nanos grace = kGrace)
      : exchange_(setup(self, nodes, std::move(plan), grace), *this) {}

  static Desk tree(NodeIndex self, std::uint32_t nodes) {
    return {self, nodes, schedule::tree(self, Shape{nodes, 2})};
  }
  static Desk dissemination(NodeIndex self, Shape shape) {
    return {self, shape.size, schedule::dissemination(self, shape)};
  }

  LocalView local_view(Epoch) const override { return view; }

  void enter(Epoch epoch, std::uint64_t word, std::uint32_t signature = kSignature) {
    exchange_.enter(epoch, {word, {}, signature, 0}, time, output_);
    view.signature = signature;
    collect();
  }
  /// Hands in a frame as node `from` would send it.
  bool receive(NodeIndex from, Frame frame) {
    frame.sender = from * kRanksPerNode;
    if (frame.type == FrameType::answer && frame.site == 0) frame.site = question_;
    const bool is_ours = exchange_.receive(frame, time, output_);
    collect();
    return is_ours;
  }
  void ask(Epoch epoch) {
    exchange_.ask(epoch, time, output_);
    collect();
  }
  void lose(NodeIndex node) {
    exchange_.lose(node, time, output_);
    collect();
  }
  void leave() {
    exchange_.leave(output_);
    collect();
  }
  void tick(Nanos at) {
    time = at;
    exchange_.tick(time, output_);
    collect();
  }
  void fail(Verdict verdict) {
    exchange_.fail(std::move(verdict), output_);
    collect();
  }

  ExchangeState state() const { return exchange_.state(); }
  const Exchange& exchange() const { return exchange_; }
  /// Takes what was sent since the last look.
  std::vector<Sent> sent() { return std::exchange(sent_, {}); }

  LocalView view;
  Nanos time = 1;

 private:
  static Exchange::Setup setup(NodeIndex self, std::uint32_t nodes, Plan plan, Nanos grace) {
    Exchange::Setup made{};
    made.group = 5;
    made.session = 77;
    made.self = self;
    made.plan = std::move(plan);
    made.grace = grace;
    for (NodeIndex node = 0; node < nodes; ++node) {
      made.leaders.push_back(node * kRanksPerNode);
      made.members.push_back(RankSet({{node * kRanksPerNode, kRanksPerNode}}));
      made.hosts.push_back("n" + std::to_string(node));
    }
    return made;
  }
  void collect() {
    for (const Outgoing& outgoing : output_) {
      // An answer carries the number of its question, where questions have one.
      if (outgoing.frame.type == FrameType::ask) question_ = outgoing.frame.site;
      const auto payload = outgoing.frame.payload;
      sent_.push_back({outgoing.peer, outgoing.frame, Bytes(payload.begin(), payload.end())});
    }
    output_.clear();
  }

  Exchange exchange_;
  Output output_;
  std::vector<Sent> sent_;
  std::uint32_t question_ = 0;
};

inline Frame frame_of(FrameType type, Epoch epoch) {
  Frame frame;
  frame.type = type;
  frame.epoch = epoch;
  frame.signature = kSignature;
  return frame;
}

inline Frame fact(Epoch epoch, std::uint16_t step, std::uint64_t word,
                  std::uint32_t signature = kSignature) {
  Frame frame = frame_of(FrameType::fact, epoch);
  frame.step = step;
  frame.word = word;
  frame.signature = signature;
  return frame;
}

/// An answer that nobody of the sender's members is missing, or that `missing` are.
struct Answer {
  Answer(Epoch epoch, const RankSet& missing, std::uint32_t signature = kSignature,
         std::string_view site = "") {
    bool truncated = false;
    payload = encode_ranges(missing, kPayloadMax / 2, truncated);
    frame = frame_of(FrameType::answer, epoch);
    frame.step = static_cast<std::uint16_t>(payload.size());
    frame.signature = signature;
    for (const char c : site) payload.push_back(static_cast<std::byte>(c));
    frame.payload = payload;
  }
  Bytes payload;
  Frame frame;
};

/// The answer of a node that has completed the epoch.
inline Frame complete_answer(Epoch epoch, std::uint64_t word) {
  Frame frame = frame_of(FrameType::answer, epoch);
  frame.flags = kAnswerComplete;
  frame.word = word;
  return frame;
}

inline std::size_t count(const std::vector<Sent>& sent, FrameType type) {
  return static_cast<std::size_t>(std::count_if(
      sent.begin(), sent.end(), [type](const Sent& one) { return one.frame.type == type; }));
}

constexpr std::uint16_t kUp = 0;
constexpr std::uint16_t kDown = 1;

}  // namespace lockstep::engine::test
