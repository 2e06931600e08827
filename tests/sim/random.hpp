// Numbers that depend on the seed alone, on every machine and with every standard library.
#pragma once

#include <cstdint>

#include "runtime/base/hash.hpp"
#include "runtime/base/time.hpp"

namespace lockstep::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix(seed)) {}

  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }
  /// 0 .. limit - 1. Precondition: limit is not 0.
  std::uint32_t below(std::uint64_t limit) { return static_cast<std::uint32_t>(next() % limit); }
  bool happens(std::uint32_t ppm) { return below(1'000'000) < ppm; }
  /// Both ends included.
  Nanos between(Nanos low, Nanos high) {
    return low + static_cast<Nanos>(next() % static_cast<std::uint64_t>(high - low + 1));
  }

 private:
  std::uint64_t state_;
};

}  // namespace lockstep::sim
