// Mixing 64-bit values into one, for names and group numbers that all ranks compute alike.
#pragma once

#include <cstdint>
#include <string_view>

namespace lockstep {

/// FNV-1a: short, and the same on every machine.
constexpr std::uint64_t hash_text(std::string_view text,
                                  std::uint64_t seed = 0xcbf29ce484222325u) noexcept {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return seed;
}

/// Final mixer of splitmix64: neighbouring inputs give unrelated outputs.
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace lockstep
