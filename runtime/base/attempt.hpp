// Who goes first in a section, and for the how-many-th time somebody does.
#pragma once

#include <compare>
#include <cstdint>

namespace lockstep {

/// One try at a section of a group. The next one begins when this one has failed.
struct Attempt {
  std::uint64_t section = 0;  ///< from 1; 0: none
  std::uint32_t number = 0;   ///< from 0

  auto operator<=>(const Attempt&) const = default;

  /// As one number that grows with sections and attempts, for words of the page and of the wire.
  static constexpr unsigned kNumberBits = 12;
  static constexpr std::uint32_t kNumbers = 1u << kNumberBits;
  constexpr std::uint64_t packed() const noexcept { return section << kNumberBits | number; }
  static constexpr Attempt unpacked(std::uint64_t word) noexcept {
    return {word >> kNumberBits, static_cast<std::uint32_t>(word & (kNumbers - 1))};
  }
};

}  // namespace lockstep
