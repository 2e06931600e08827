// One clock for everything: CLOCK_MONOTONIC in nanoseconds, the same for all processes of a host.
// And another to compare moments of several hosts.
#pragma once

#include <cstdint>
#include <ctime>

namespace lockstep {

using Nanos = std::int64_t;

inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kNever = INT64_MAX;

inline Nanos now() noexcept {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<Nanos>(t.tv_sec) * kSecond + t.tv_nsec;
}

/// Since 1970, as well as the hosts' clocks agree; may jump.
inline Nanos now_since_1970() noexcept {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<Nanos>(t.tv_sec) * kSecond + t.tv_nsec;
}

/// The absolute time `timeout` from `start`; stays at "never" instead of overflowing.
inline Nanos after(Nanos start, Nanos timeout) noexcept {
  return timeout >= kNever - start ? kNever : start + timeout;
}

}  // namespace lockstep
