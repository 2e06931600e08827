// What tests that run on every rank of a job tell each other, and where they differ.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "lockstep/lockstep.hpp"

/// Everybody's value, by rank of the group.
template <class T>
std::vector<T> everybodys(lockstep::Group& group, const T& mine) {
  std::vector<T> all;
  for (std::uint32_t root = 0; root < group.size(); ++root) {
    all.push_back(group.broadcast_value(mine, root));
  }
  return all;
}

/// How many times as much random tests do: LOCKSTEP_SOAK in the environment.
inline std::uint64_t soak() {
  const char* const times = std::getenv("LOCKSTEP_SOAK");
  return times != nullptr ? std::strtoull(times, nullptr, 10) : 1;
}

/// Sends this process a signal after a while, from the thread that it returns.
inline std::thread signal_after(std::chrono::microseconds delay, int signal) {
  return std::thread([delay, signal] {
    std::this_thread::sleep_for(delay);
    kill(getpid(), signal);
  });
}

/// Whether the transport between nodes carries frames; pmix_fence has whole rounds only.
inline bool has_frames() {
  const char* const transport = std::getenv("LOCKSTEP_TRANSPORT");
  return transport == nullptr || std::string(transport) != "pmix_fence";
}
