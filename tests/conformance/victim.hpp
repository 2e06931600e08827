// A peer in a process of its own, so that it can die.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "instance.hpp"

namespace lockstep::conformance {

/// Makes main() become the victim instead of the suite; followed by the plugin's path and a rank.
inline constexpr const char* kVictimFlag = "--be-the-victim";

/// Body of the victim: answers every frame until it is killed.
int run_victim(const std::string& plugin_path, std::uint32_t rank);

/// Starts a victim and connects it and `instance` (rank 0) with each other.
class Victim {
 public:
  Victim(const std::string& plugin_path, Instance& instance, std::uint32_t rank = 1);
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  ~Victim() { kill(); }

  [[nodiscard]] bool is_ready() const { return is_ready_; }
  void stop();  ///< it stays, but does not read any more
  void kill();  ///< returns when the kernel has taken it down

 private:
  pid_t process_ = -1;
  bool is_ready_ = false;
};

}  // namespace lockstep::conformance
