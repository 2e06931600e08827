// Random numbers that are the same with every compiler and library, unlike std's distributions.
#pragma once

#include <cstdint>

namespace ngram {

/// SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  /// 0 .. limit-1. The bias of the remainder is below 2^-32 for every limit used here.
  std::uint64_t below(std::uint64_t limit) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % limit;
  }

 private:
  std::uint64_t state_;
};

}  // namespace ngram
