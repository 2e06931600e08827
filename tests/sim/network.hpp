// A network and a clock that exist only in memory: the same seed gives the same weather.
//
// It promises what the plugin ABI promises (frames arrive, in any order, possibly repeated) unless
// a test takes the promise back for a pair of nodes. Frames travel as bytes, through the real
// coding.
#pragma once

#include <array>
#include <functional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "runtime/engine/frame.hpp"
#include "tests/sim/random.hpp"

namespace lockstep::sim {

struct Weather {
  Nanos latency_min = 1 * kMicrosecond;
  Nanos latency_max = 20 * kMicrosecond;
  std::uint32_t slow_ppm = 0;  ///< so many frames in a million take `slow` on top
  Nanos slow = 0;
  bool keeps_order = false;      ///< frames of one pair of nodes do not overtake each other
  std::uint32_t repeat_ppm = 0;  ///< so many frames in a million arrive twice
};

/// Where frames from one node to another are lost without a word.
struct Cut {
  NodeIndex from;
  NodeIndex to;
  Nanos since;
  Nanos until;
};

class Network {
 public:
  using Action = std::function<void()>;
  using Deliver = std::function<void(NodeIndex from, NodeIndex to, const engine::Frame&)>;

  Network(const Weather& weather, std::uint64_t seed, Deliver deliver);

  Nanos now() const noexcept { return now_; }
  void post(NodeIndex from, NodeIndex to, const engine::Frame& frame);
  /// Runs `action` at `time`, or now if that has passed.
  void at(Nanos time, Action action);
  void cut(const Cut& cut) { cuts_.push_back(cut); }
  /// Nothing that `node` has sent so far reaches `to` any more.
  void forget(NodeIndex from, NodeIndex to) { forgotten_[pair_of(from, to)] = sequence_; }
  /// When the last frame from one node to another that was posted so far arrives.
  Nanos last_arrival(NodeIndex from, NodeIndex to) const;

  /// Does what comes next and moves the clock there. False when nothing is left to do.
  bool step();
  /// Frames on their way.
  std::size_t flying() const noexcept { return flying_; }
  /// Frames posted so far, repetitions not counted.
  std::uint64_t posted(engine::FrameType type) const {
    return posted_[static_cast<std::size_t>(type)];
  }

 private:
  struct Event {
    Nanos time;
    std::uint64_t sequence;  ///< events of one time run in the order they were made
    NodeIndex from;
    NodeIndex to;
    std::vector<std::byte> bytes;  ///< of a frame; empty: `action` instead
    Action action;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
    }
  };

  static std::uint64_t pair_of(NodeIndex from, NodeIndex to) {
    return std::uint64_t{from} << 32 | to;
  }
  Nanos arrival_of(NodeIndex from, NodeIndex to);
  void fly(NodeIndex from, NodeIndex to, std::vector<std::byte> bytes);
  bool is_lost(const Event& event) const;

  Weather weather_;
  Random random_;
  Deliver deliver_;
  Nanos now_ = 0;
  std::uint64_t sequence_ = 0;
  std::size_t flying_ = 0;
  std::vector<Event> events_;  ///< a heap, the next event in front
  std::vector<Cut> cuts_;
  std::unordered_map<std::uint64_t, Nanos> last_arrivals_;
  std::unordered_map<std::uint64_t, std::uint64_t> forgotten_;
  std::array<std::uint64_t, engine::kFrameTypeLast + 1> posted_{};
};

}  // namespace lockstep::sim
