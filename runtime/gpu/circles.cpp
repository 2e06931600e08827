// One pass: members come in ascending order, so that every circle's first is its lowest.
#include "runtime/gpu/circles.hpp"

#include <algorithm>

namespace lockstep::gpu {

std::vector<Circle> circles(std::span<const Seat> seats, const Classes& classes,
                            std::span<const std::uint8_t> alone) {
  std::vector<Circle> all;
  for (Rank member = 0; member < seats.size(); ++member) {
    const auto takes = [&](const Circle& circle) {
      const Rank lowest = circle.front();
      return alone[member] == 0 && alone[lowest] == 0 && classes[lowest] == classes[member] &&
             seats[lowest].node == seats[member].node && circle.size() < LOCKSTEP_GPU_PEERS_MAX;
    };
    const auto found = std::find_if(all.begin(), all.end(), takes);
    if (found == all.end()) {
      all.push_back({member});
    } else {
      found->push_back(member);
    }
  }
  return all;
}

}  // namespace lockstep::gpu
