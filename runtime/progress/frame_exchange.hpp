// Rounds between nodes by frames: the pure exchange, with a real transport under it.
#pragma once

#include "runtime/progress/between.hpp"
#include "runtime/progress/port.hpp"

namespace lockstep::progress {

class FrameExchange final : public Between {
 public:
  FrameExchange(Port& port, engine::Exchange::Setup setup, const engine::LocalViewSource& local);

  void start(Epoch epoch, const engine::Contribution& mine) override;
  engine::ExchangeState poll(Nanos now) override;
  std::uint64_t word() const override { return exchange_.word(); }
  std::span<const std::byte> vector() const override { return exchange_.vector(); }
  const engine::Verdict& verdict() const override { return exchange_.verdict(); }
  void expire(Epoch epoch, Nanos now) override;
  void fail(engine::Verdict verdict) override;
  void leave() override;
  void lose(Rank rank, Nanos now) override;
  void receive(const engine::Frame& frame, Nanos now) override;

 private:
  void send();

  Port& port_;
  engine::Exchange exchange_;
  engine::Output output_;
};

}  // namespace lockstep::progress
