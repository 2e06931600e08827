// The part of a round between nodes, whatever carries it: start with what this node brings, poll,
// take what all nodes brought.
#pragma once

#include "runtime/base/time.hpp"
#include "runtime/engine/exchange.hpp"

namespace lockstep::progress {

/// All calls come with the port's mutex held.
class Between {
 public:
  virtual ~Between() = default;
  virtual void start(Epoch epoch, const engine::Contribution& mine) = 0;
  virtual engine::ExchangeState poll(Nanos now) = 0;
  /// Valid while complete.
  virtual std::uint64_t word() const = 0;
  virtual std::span<const std::byte> vector() const = 0;
  /// Valid while broken.
  virtual const engine::Verdict& verdict() const = 0;
  /// A deadline for `epoch` has passed here: find out who is missing.
  virtual void expire(Epoch epoch, Nanos now) = 0;
  /// This node's members have broken the group; tell the others.
  virtual void fail(engine::Verdict verdict) = 0;
  /// This node leaves the group.
  virtual void leave() = 0;
  virtual void lose(Rank rank, Nanos now) = 0;
  virtual void receive(const engine::Frame& frame, Nanos now) = 0;
};

}  // namespace lockstep::progress
