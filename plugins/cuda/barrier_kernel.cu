// One warp waits for the other members' GPUs: a store to each, and then loads of its own memory.
//
// Order: what a stream did before is over when the kernel starts, so that a fence takes it along;
// and what comes after starts when every lane's acquire is done.
//
// Time: a store to the host costs four tenths of the rest, since a kernel is not over before it has
// arrived there. So the host is told when it wants to know, or when something is wrong. A barrier
// that all come to soon, and without a bit, takes a short way past everything else.
#include <cstddef>
#include <cuda/atomic>

#include "plugins/cuda/barrier_layout.hpp"

static_assert(LOCKSTEP_GPU_PEERS_MAX <= 32, "a lane of one warp for each");

namespace {

using lockstep::cuda::BarrierArguments;
using lockstep::cuda::BarrierHeader;
using lockstep::cuda::BarrierWindow;
using lockstep::cuda::kBarrierPlace;
using lockstep::cuda::kBarrierPlaces;

constexpr unsigned kWarp = 32;
constexpr unsigned kAll = 0xffffffffu;
/// How often a waiting lane looks at the clock and, over the bus, at its host: rarely, so that a
/// short wait does not become longer by it.
constexpr unsigned kLooksPerQuestion = 64;
constexpr std::uint64_t kHostGraceNs = 10'000'000'000;

template <class T>
__device__ ::cuda::atomic_ref<T, ::cuda::thread_scope_system> shared(T& word) {
  return ::cuda::atomic_ref<T, ::cuda::thread_scope_system>(word);
}

__device__ std::uint64_t clock_ns() {
  std::uint64_t time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

__device__ std::uint32_t or_of_warp(std::uint32_t bits) {
  for (unsigned distance = kWarp / 2; distance != 0; distance /= 2) {
    bits |= __shfl_xor_sync(kAll, bits, distance);
  }
  return bits;
}

/// What the warp has seen: the same on all lanes.
struct Meeting {
  std::uint32_t bits = 0;
  lockstep_gpu_cause_t cause = LOCKSTEP_GPU_WHOLE;
  std::uint32_t missing = 0;  ///< bit i: lane i's
};

__device__ bool is_broken(std::uint64_t word) {
  return (word & LOCKSTEP_GPU_BROKEN) != 0;
}

/// Whether a wait that is not short is to end, and why. `begin`: 0 at first, then the time of that.
__device__ lockstep_gpu_cause_t question(std::uint64_t* cell, std::uint64_t& begin,
                                         std::uint64_t limit_ns, lockstep_gpu_line_t& line) {
  // Who has come may have failed since, so that all cells are looked at.
  std::uint64_t word = 0;
  if (cell != nullptr) word = shared(*cell).load(::cuda::memory_order_relaxed);
  const bool gives_up = shared(line.give_up).load(::cuda::memory_order_relaxed) != 0;
  const std::uint64_t time = __shfl_sync(kAll, clock_ns(), 0);
  if (begin == 0) begin = time;
  if (__any_sync(kAll, gives_up) != 0) return LOCKSTEP_GPU_STOPPED;
  if (limit_ns != 0 && time - begin >= limit_ns) return LOCKSTEP_GPU_LATE;
  return __any_sync(kAll, is_broken(word)) != 0 ? LOCKSTEP_GPU_TOLD : LOCKSTEP_GPU_WHOLE;
}

/// Until the cells of all lanes have the word of that barrier; nullptr is no cell.
__device__ Meeting meet(std::uint64_t* cell, std::uint32_t number, std::uint64_t limit_ns,
                        lockstep_gpu_line_t& line) {
  Meeting meeting;
  std::uint64_t word = 0;
  bool waits = cell != nullptr;
  std::uint64_t begin = 0;
  for (unsigned looks = 1;; ++looks) {
    if (waits) {
      word = shared(*cell).load(::cuda::memory_order_acquire);
      waits = !is_broken(word) && static_cast<std::uint32_t>(word >> 32) != number;
    }
    if (__any_sync(kAll, waits) == 0) break;
    if (looks % kLooksPerQuestion != 0) continue;
    meeting.cause = question(cell, begin, limit_ns, line);
    if (meeting.cause != LOCKSTEP_GPU_WHOLE) break;
  }
  const std::uint32_t seen = waits ? 0 : static_cast<std::uint32_t>(word);
  if (__any_sync(kAll, seen != 0) != 0) {
    meeting.bits = or_of_warp(seen);
    if (meeting.cause == LOCKSTEP_GPU_WHOLE && is_broken(meeting.bits)) {
      meeting.cause = LOCKSTEP_GPU_TOLD;
    }
    meeting.bits &= ~LOCKSTEP_GPU_BROKEN;
  }
  meeting.missing = __ballot_sync(kAll, waits);
  __syncwarp();  // what any lane has acquired, each passes on
  return meeting;
}

/// Whether all come before it is time for questions, and without a bit: so are nearly all barriers.
__device__ bool meet_soon(std::uint64_t* cell, std::uint64_t number) {
  const std::uint64_t expected = number << 32;
  for (unsigned looks = 0; looks < kLooksPerQuestion; ++looks) {
    std::uint64_t word = expected;
    if (cell != nullptr) word = shared(*cell).load(::cuda::memory_order_acquire);
    if (__all_sync(kAll, word == expected) != 0) {
      __syncwarp();  // what any lane has acquired, each passes on
      return true;
    }
    if (__any_sync(kAll, static_cast<std::uint32_t>(word) != 0) != 0) break;
  }
  return false;
}

/// Nobody waits for this member any more, in whatever barrier.
__device__ void tell_others(const BarrierArguments& of, BarrierWindow* peer, std::uint64_t broken) {
  if (peer == nullptr) return;
  for (unsigned parity = 0; parity < 2; ++parity) {
    shared(peer->cells[parity][of.self]).store(broken, ::cuda::memory_order_release);
    if (of.self == 0) shared(peer->releases[parity]).store(broken, ::cuda::memory_order_release);
  }
}

/// Member 0 has its host meet the others and lets those here go; they wait for that.
__device__ Meeting meet_elsewhere(const BarrierArguments& of, BarrierWindow* peer,
                                  std::uint64_t number, std::uint32_t bits) {
  lockstep_gpu_line_t& line = *of.line;
  const unsigned parity = number % 2;
  std::uint64_t* release = nullptr;
  if (threadIdx.x == 0) {
    release = of.self == 0 ? &line.released : &of.own->releases[parity];
    if (of.self == 0) {
      shared(line.limit_ns).store(of.limit_ns, ::cuda::memory_order_relaxed);
      shared(line.arrived).store(number << 32 | bits, ::cuda::memory_order_release);
    }
  }
  // Whether the others are late is the host's to say; this is for a host that does not answer.
  const std::uint64_t limit_ns = of.limit_ns == 0 ? 0 : of.limit_ns + kHostGraceNs;
  Meeting meeting = meet(release, static_cast<std::uint32_t>(number), limit_ns, line);
  meeting.missing = 0;
  if (of.self != 0) return meeting;
  if (meeting.cause == LOCKSTEP_GPU_TOLD) meeting.cause = LOCKSTEP_GPU_STOPPED;
  if (meeting.cause == LOCKSTEP_GPU_WHOLE && peer != nullptr) {
    shared(peer->releases[parity]).store(number << 32 | meeting.bits, ::cuda::memory_order_release);
  }
  return meeting;
}

/// The last that lane 0 does: tells the next barrier, kernels behind this one, and maybe the host.
__device__ void finish(const BarrierArguments& of, std::uint64_t number, std::uint32_t low,
                       bool tells_host) {
  of.own->state.number = number;
  of.own->state.agreed = low;
  if (!tells_host) return;
  std::uint64_t& result = of.line->results[number % LOCKSTEP_GPU_RESULTS];
  shared(result).store(number << 32 | low, ::cuda::memory_order_relaxed);
}

/// How far away a word is kept, for that is where an atomic is done. A load would not tell: it may
/// find a copy in the nearer half of the L2 cache, which is gone once another GPU has stored.
__device__ long long cycles_to(std::uint64_t& word) {
  constexpr unsigned kTimes = 4;  // the first one may have to fetch the word, or this code
  long long least = 0;
#pragma unroll 1
  for (unsigned i = 0; i < kTimes; ++i) {
    const long long begin = clock64();
    shared(word).fetch_add(0, ::cuda::memory_order_acquire);
    const long long cycles = clock64() - begin;
    if (i == 0 || cycles < least) least = cycles;
  }
  return least;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kWarp)
    lockstep_barrier(const __grid_constant__ BarrierArguments of) {
  const unsigned lane = threadIdx.x;
  BarrierWindow& own = *of.own;
  lockstep_gpu_line_t& line = *of.line;

  // All loads at once, and none used before the fence, which would wait for it. Each lane sees to
  // one member.
  const bool has_peer = lane < of.members && lane != of.self;
  BarrierWindow* const peer = has_peer ? own.peers[lane] : nullptr;
  std::uint64_t last = 0;
  if (lane == 0) last = own.state.number;
  const std::uint32_t* const seldom = lane == 0 ? &own.raised : &own.state.has_failed;
  const std::uint32_t rare = *static_cast<const volatile std::uint32_t*>(seldom);
  // By every lane: what lane 0 tells the host later is ordered behind it, too.
  ::cuda::atomic_thread_fence(::cuda::memory_order_acq_rel, ::cuda::thread_scope_system);

  const std::uint64_t number = __shfl_sync(kAll, last, 0) + 1;
  std::uint32_t bits = 0;
  bool had_failed = false;
  if (__any_sync(kAll, rare != 0) != 0) {
    had_failed = __shfl_sync(kAll, rare, 1) != 0;
    if (lane == 0) bits = atomicExch(&own.raised, 0) & ~LOCKSTEP_GPU_BROKEN;
    bits = __shfl_sync(kAll, bits, 0);
  }

  Meeting meeting;
  if (!had_failed) {
    const unsigned parity = number % 2;
    if (has_peer) {
      shared(peer->cells[parity][of.self]).store(number << 32 | bits, ::cuda::memory_order_relaxed);
    }
    std::uint64_t* const cell = has_peer ? &own.cells[parity][lane] : nullptr;
    if (of.is_carried == 0 && meet_soon(cell, number)) {
      if (lane == 0) finish(of, number, bits, of.reports != 0);
      return;
    }
    meeting = meet(cell, static_cast<std::uint32_t>(number), of.limit_ns, line);
    bits |= meeting.bits;
    if (of.is_carried != 0 && meeting.cause == LOCKSTEP_GPU_WHOLE) {
      meeting = meet_elsewhere(of, peer, number, bits);
      bits = meeting.bits;
    }
  }

  const bool fails_now = meeting.cause != LOCKSTEP_GPU_WHOLE;
  const std::uint32_t low = bits | (had_failed || fails_now ? LOCKSTEP_GPU_BROKEN : 0);
  if (fails_now) tell_others(of, peer, number << 32 | low);
  if (lane != 0) return;
  if (fails_now) {
    own.state.has_failed = 1;
    const std::uint64_t missing = meeting.missing;
    shared(line.missing).store(missing, ::cuda::memory_order_relaxed);
    const auto cause = static_cast<std::uint64_t>(meeting.cause);
    shared(line.cause).store(cause, ::cuda::memory_order_release);
  }
  finish(of, number, low, fails_now || of.reports != 0);
}

/// Chooses where the window lies. Launched as barriers are, a warp alone, so that it comes to the
/// multiprocessor that they come to: what is near to this is near to them.
extern "C" __global__ void __launch_bounds__(kWarp) lockstep_barrier_place(BarrierHeader* header) {
  if (threadIdx.x != 0) return;
  auto* const memory = reinterpret_cast<std::byte*>(header);
  long long least = 0;
#pragma unroll 1
  for (std::uint32_t place = 1; place <= kBarrierPlaces; ++place) {
    const std::uint64_t offset = place * kBarrierPlace;
    const long long cycles = cycles_to(*reinterpret_cast<std::uint64_t*>(memory + offset));
    if (place != 1 && cycles >= least) continue;
    least = cycles;
    header->offset = offset;
  }
}
