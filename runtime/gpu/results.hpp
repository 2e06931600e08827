// The results of a stream barrier, as a host reads them while its GPU writes them. Pure.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "lockstep/gpu.h"

namespace lockstep::gpu {

/// Words are written and read whole, by GPU and host.
inline std::uint64_t load(std::uint64_t& word) noexcept {
  return std::atomic_ref(word).load(std::memory_order_acquire);
}
inline void store(std::uint64_t& word, std::uint64_t value) noexcept {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

inline std::uint64_t word_of(std::uint64_t number, std::uint32_t low) noexcept {
  return number << 32 | low;
}
inline bool is_broken(std::uint64_t word) noexcept {
  return (word & LOCKSTEP_GPU_BROKEN) != 0;
}
/// Is it that barrier's, or one's that is 2^32 away?
inline bool is_of(std::uint64_t word, std::uint64_t number) noexcept {
  return static_cast<std::uint32_t>(word >> 32) == static_cast<std::uint32_t>(number);
}

class Results {
 public:
  explicit Results(lockstep_gpu_line_t& line) noexcept : line_(line) {}

  /// The number of the last barrier that is over and has reported, as have all from the last one
  /// that was noted on. Whoever asks less often than every 2^31 barriers counts wrong.
  std::uint64_t over() noexcept;
  /// This one is over, by the GPU's own word.
  void note(std::uint64_t number) noexcept { over_ = std::max(over_, number); }
  /// The word of one that is over; nothing: a later one may have been written over it.
  std::optional<std::uint64_t> word(std::uint64_t number) const noexcept;

 private:
  lockstep_gpu_line_t& line_;
  std::uint64_t over_ = 0;
};

}  // namespace lockstep::gpu
