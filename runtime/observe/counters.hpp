// What a session counts: plain numbers, read by tests, reports and `lockstep info`.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lockstep {

enum class Counter {
  rounds,
  frames_sent,
  frames_received,
  frames_rejected,
  bytes_sent,
  sleeps,
  fences,
  groups
};

inline constexpr std::array<std::string_view, 8> kCounterNames = {
    "rounds",     "frames_sent", "frames_received", "frames_rejected",
    "bytes_sent", "sleeps",      "fences",          "groups"};

/// Relaxed atomics: the caller's thread and the progress thread both count.
class Counters {
 public:
  void add(Counter counter, std::uint64_t amount = 1) noexcept {
    // Single-writer in nearly all cases; a plain add would cost the same.
    values_[static_cast<std::size_t>(counter)].fetch_add(amount, std::memory_order_relaxed);
  }
  std::uint64_t get(Counter counter) const noexcept {
    return values_[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
  }
  std::optional<std::uint64_t> find(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < kCounterNames.size(); ++i) {
      if (kCounterNames[i] == name) return values_[i].load(std::memory_order_relaxed);
    }
    return std::nullopt;
  }

 private:
  std::array<std::atomic<std::uint64_t>, kCounterNames.size()> values_{};
};

}  // namespace lockstep
