// What the host and the kernel of a stream barrier share; for both compilers.
#pragma once

#include <cstdint>

#include "lockstep/gpu.h"

namespace lockstep::cuda {

/// How far a member is; its kernels go by it, so that a graph can be launched again.
struct BarrierState {
  std::uint64_t number;      ///< of the last barrier that is over
  std::uint32_t agreed;      ///< lower half of its word
  std::uint32_t has_failed;  ///< not 0: so has every later one
};

/// A member's memory on its GPU; zero in the beginning. Others write to the first two only.
struct BarrierWindow {
  /// By parity of the barrier's number and by member: that member has come. Two parities suffice:
  /// nobody is two barriers ahead of anybody.
  std::uint64_t cells[2][LOCKSTEP_GPU_PEERS_MAX];
  /// By parity, from member 0: the members elsewhere have come, too.
  std::uint64_t releases[2];
  std::uint64_t padding[14];

  BarrierWindow* peers[LOCKSTEP_GPU_PEERS_MAX];  ///< by member, as this GPU reaches them
  BarrierState state;
  std::uint64_t room[14];
  std::uint32_t raised;  ///< kernels set bits, the next barrier takes them
};

/// What a member's memory begins with, for those that map it.
struct BarrierHeader {
  std::uint64_t offset;  ///< of the window
};

/// The window lies at 1 to kBarrierPlaces times this: on an H200, what is near to a multiprocessor
/// and what is not alternates by 4 KiB.
inline constexpr std::uint64_t kBarrierPlace = 4096;
inline constexpr std::uint32_t kBarrierPlaces = 16;
static_assert(sizeof(BarrierWindow) <= kBarrierPlace && sizeof(BarrierHeader) <= kBarrierPlace);

/// What a kernel gets. Short: parameters of graphs come from memory.
struct BarrierArguments {
  BarrierWindow* own;
  lockstep_gpu_line_t* line;
  std::uint64_t limit_ns;
  std::uint32_t self;
  std::uint32_t members;
  std::uint32_t is_carried;
  std::uint32_t reports;  ///< to the host, also when all is well
};

inline constexpr const char* kBarrierKernel = "lockstep_barrier";
inline constexpr const char* kPlaceKernel = "lockstep_barrier_place";

}  // namespace lockstep::cuda
