// Carries the exchange's frames to the port.
#include "runtime/progress/frame_exchange.hpp"

#include <algorithm>

namespace lockstep::progress {

FrameExchange::FrameExchange(Port& port, engine::Exchange::Setup setup,
                             const engine::LocalViewSource& local)
    : port_(port), exchange_(std::move(setup), local) {
  output_.reserve(2 * exchange_.setup().leaders.size() + exchange_.setup().plan.size());
}

void FrameExchange::send() {
  const engine::Exchange::Setup& setup = exchange_.setup();
  for (const engine::Outgoing& outgoing : output_) {
    port_.post(setup.leaders[outgoing.peer], outgoing.frame);
  }
  output_.clear();
}

void FrameExchange::start(Epoch epoch, const engine::Contribution& mine) {
  exchange_.enter(epoch, mine, now(), output_);
  send();
}

engine::ExchangeState FrameExchange::poll(Nanos now) {
  exchange_.tick(now, output_);
  send();
  return exchange_.state();
}

void FrameExchange::expire(Epoch epoch, Nanos now) {
  exchange_.ask(epoch, now, output_);
  send();
}

void FrameExchange::fail(engine::Verdict verdict) {
  exchange_.fail(std::move(verdict), output_);
  send();
}

void FrameExchange::leave() {
  exchange_.leave(output_);
  send();
}

void FrameExchange::lose(Rank rank, Nanos now) {
  const std::vector<Rank>& leaders = exchange_.setup().leaders;
  const auto found = std::find(leaders.begin(), leaders.end(), rank);
  if (found == leaders.end()) return;
  exchange_.lose(static_cast<NodeIndex>(found - leaders.begin()), now, output_);
  send();
}

void FrameExchange::receive(const engine::Frame& frame, Nanos now) {
  exchange_.receive(frame, now, output_);
  send();
}

}  // namespace lockstep::progress
