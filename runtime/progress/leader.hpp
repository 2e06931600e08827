// The leader's part of a round on several nodes: gather here, exchange with the others, release
// here.
//
// Driven by the leader's own thread while it is in a call, by the port's thread while it is not.
#pragma once

#include <memory>

#include "runtime/node/local_group.hpp"
#include "runtime/progress/between.hpp"
#include "runtime/progress/port.hpp"

namespace lockstep::progress {

class Leader final : public Listener, public engine::LocalViewSource {
 public:
  /// @param ranks  Job ranks of the group's members here, in the order of `local`.
  static Result<std::unique_ptr<Leader>> open(Port& port, node::LocalGroup& local,
                                              std::vector<Rank> ranks,
                                              engine::Exchange::Setup setup);
  ~Leader() override;

  // All with the port's mutex held.
  void begin(Epoch epoch) noexcept { open_ = epoch; }
  void advance(Nanos now);
  void expire(Epoch epoch, Nanos now);
  void fail(engine::Verdict verdict);

  // Listener
  void on_frame(const engine::Frame& frame) override;
  void on_lost(Rank rank) override;
  bool on_idle(Nanos now) override;
  // LocalViewSource
  engine::LocalView local_view(Epoch epoch) const override;

 private:
  Leader(Port& port, node::LocalGroup& local, std::vector<Rank> ranks, GroupId group);
  void settle(engine::ExchangeState state);
  void start_exchange();

  Port& port_;
  node::LocalGroup& local_;
  std::vector<Rank> ranks_;
  GroupId group_;
  std::unique_ptr<Between> between_;
  Epoch open_ = 0;        ///< the round being moved on; 0: none
  Epoch exchanging_ = 0;  ///< the round that has been handed to `between_`
  Epoch finished_ = 0;
};

}  // namespace lockstep::progress
