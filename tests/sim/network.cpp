// The event queue behind network.hpp.
#include "tests/sim/network.hpp"

#include <algorithm>
#include <cstdlib>

namespace lockstep::sim {

Network::Network(const Weather& weather, std::uint64_t seed, Deliver deliver)
    : weather_(weather), random_(seed), deliver_(std::move(deliver)) {}

Nanos Network::arrival_of(NodeIndex from, NodeIndex to) {
  Nanos time = now_ + random_.between(weather_.latency_min, weather_.latency_max);
  if (random_.happens(weather_.slow_ppm)) time += weather_.slow;
  Nanos& last = last_arrivals_[pair_of(from, to)];
  if (weather_.keeps_order) time = std::max(time, last);
  last = std::max(last, time);
  return time;
}

void Network::fly(NodeIndex from, NodeIndex to, std::vector<std::byte> bytes) {
  events_.push_back({arrival_of(from, to), ++sequence_, from, to, std::move(bytes), {}});
  std::push_heap(events_.begin(), events_.end(), Later{});
  ++flying_;
}

void Network::post(NodeIndex from, NodeIndex to, const engine::Frame& frame) {
  ++posted_[static_cast<std::size_t>(frame.type)];
  for (const Cut& cut : cuts_) {
    if (cut.from == from && cut.to == to && now_ >= cut.since && now_ < cut.until) return;
  }
  std::vector<std::byte> bytes(engine::kHeaderSize + frame.payload.size());
  engine::encode(frame, bytes);
  if (random_.happens(weather_.repeat_ppm)) fly(from, to, bytes);
  fly(from, to, std::move(bytes));
}

void Network::at(Nanos time, Action action) {
  events_.push_back({std::max(time, now_), ++sequence_, 0, 0, {}, std::move(action)});
  std::push_heap(events_.begin(), events_.end(), Later{});
}

Nanos Network::last_arrival(NodeIndex from, NodeIndex to) const {
  const auto found = last_arrivals_.find(pair_of(from, to));
  return found == last_arrivals_.end() ? now_ : std::max(now_, found->second);
}

bool Network::is_lost(const Event& event) const {
  const auto found = forgotten_.find(pair_of(event.from, event.to));
  return found != forgotten_.end() && event.sequence <= found->second;
}

bool Network::step() {
  if (events_.empty()) return false;
  std::pop_heap(events_.begin(), events_.end(), Later{});
  const Event event = std::move(events_.back());
  events_.pop_back();
  now_ = event.time;
  if (event.bytes.empty()) {
    event.action();
    return true;
  }
  --flying_;
  if (is_lost(event)) return true;
  const auto frame = engine::decode(event.bytes);
  if (!frame) std::abort();  // what encode() wrote, decode() reads
  deliver_(event.from, event.to, *frame);
  return true;
}

}  // namespace lockstep::sim
