// One warp waits for the other members' GPUs: a store to each, and then loads of its own memory.
//
// Order: what a stream did before is over when the kernel starts, so that each lane's release takes
// it along; and what comes after starts when every lane's acquire is done.
#include <cuda/atomic>

#include "plugins/cuda/barrier_layout.hpp"

namespace {

using lockstep::cuda::BarrierPlan;
using lockstep::cuda::BarrierWindow;

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
  if (__any_sync(kAll, bits != 0) == 0) return 0;
  for (unsigned distance = kWarp / 2; distance != 0; distance /= 2) {
    bits |= __shfl_xor_sync(kAll, bits, distance);
  }
  return bits;
}

/// What the warp has seen: the same on all lanes.
struct Meeting {
  std::uint32_t bits = 0;
  lockstep_gpu_cause_t cause = LOCKSTEP_GPU_WHOLE;
  std::uint64_t missing = 0;  ///< bit i: lane i's first cell; 32 + i: its second
};

/// Until all cells of all lanes have the word of that barrier; nullptr is no cell.
__device__ Meeting meet(std::uint64_t* const (&cells)[2], std::uint32_t number,
                        std::uint64_t limit_ns, lockstep_gpu_line_t& line) {
  Meeting meeting;
  std::uint32_t bits = 0;
  bool waits[2] = {cells[0] != nullptr, cells[1] != nullptr};
  std::uint64_t begin = 0;
  for (unsigned looks = 1;; ++looks) {
    bool is_told = false;
    for (unsigned i = 0; i < 2; ++i) {
      if (!waits[i]) continue;
      const std::uint64_t word = shared(*cells[i]).load(::cuda::memory_order_acquire);
      const bool is_broken = (word & LOCKSTEP_GPU_BROKEN) != 0;
      is_told = is_told || is_broken;
      if (!is_broken && static_cast<std::uint32_t>(word >> 32) != number) continue;
      waits[i] = false;
      if (!is_broken) bits |= static_cast<std::uint32_t>(word);
    }
    if (__any_sync(kAll, is_told) != 0) meeting.cause = LOCKSTEP_GPU_TOLD;
    if (meeting.cause != LOCKSTEP_GPU_WHOLE || __any_sync(kAll, waits[0] || waits[1]) == 0) break;
    if (looks % kLooksPerQuestion != 0) continue;
    const std::uint64_t time = __shfl_sync(kAll, clock_ns(), 0);
    if (begin == 0) begin = time;
    if (limit_ns != 0 && time - begin >= limit_ns) meeting.cause = LOCKSTEP_GPU_LATE;
    const bool gives_up = shared(line.give_up).load(::cuda::memory_order_relaxed) != 0;
    if (__any_sync(kAll, gives_up) != 0) meeting.cause = LOCKSTEP_GPU_STOPPED;
    if (meeting.cause != LOCKSTEP_GPU_WHOLE) break;
  }
  meeting.bits = or_of_warp(bits);
  const std::uint64_t first = __ballot_sync(kAll, waits[0]);
  const std::uint64_t second = __ballot_sync(kAll, waits[1]);
  meeting.missing = first | second << kWarp;
  __syncwarp();  // what any lane has acquired, each passes on
  return meeting;
}

/// Nobody waits for this member any more, in whatever barrier.
__device__ void tell_others(const BarrierPlan& plan, std::uint64_t broken) {
  for (unsigned other = threadIdx.x; other < plan.members; other += kWarp) {
    if (other == plan.self) continue;
    BarrierWindow& window = *plan.windows[other];
    for (unsigned parity = 0; parity < 2; ++parity) {
      shared(window.cells[parity][plan.self]).store(broken, ::cuda::memory_order_release);
      if (plan.self == 0) {
        shared(window.releases[parity]).store(broken, ::cuda::memory_order_release);
      }
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kWarp)
    lockstep_barrier(const __grid_constant__ BarrierPlan plan, const std::uint64_t limit_ns) {
  const unsigned lane = threadIdx.x;
  BarrierWindow& own = *plan.windows[plan.self];
  lockstep_gpu_line_t& line = *plan.line;

  // Three loads at once, by three lanes.
  std::uint64_t state = 0;
  if (lane == 0) state = own.number + 1;
  if (lane == 1) state = atomicExch(&own.raised, 0) & ~LOCKSTEP_GPU_BROKEN;
  if (lane == 2) state = own.has_failed;
  const std::uint64_t number = __shfl_sync(kAll, state, 0);
  std::uint32_t bits = static_cast<std::uint32_t>(__shfl_sync(kAll, state, 1));
  const bool had_failed = __shfl_sync(kAll, state, 2) != 0;
  const std::uint32_t number_low = static_cast<std::uint32_t>(number);
  const unsigned parity = number_low % 2;
  const auto word_of = [&](std::uint32_t low) { return number << 32 | low; };

  Meeting meeting;
  if (!had_failed) {
    std::uint64_t* cells[2] = {};
    for (unsigned other = lane; other < plan.members; other += kWarp) {
      if (other == plan.self) continue;
      shared(plan.windows[other]->cells[parity][plan.self])
          .store(word_of(bits), ::cuda::memory_order_release);
      cells[other / kWarp] = &own.cells[parity][other];
    }
    meeting = meet(cells, number_low, limit_ns, line);
    bits |= meeting.bits;
    if (plan.is_carried != 0 && meeting.cause == LOCKSTEP_GPU_WHOLE) {
      std::uint64_t* release[2] = {};
      if (lane == 0) release[0] = plan.self == 0 ? &line.released : &own.releases[parity];
      if (lane == 0 && plan.self == 0) {
        shared(line.limit_ns).store(limit_ns, ::cuda::memory_order_relaxed);
        shared(line.arrived).store(word_of(bits), ::cuda::memory_order_release);
      }
      // Whether the others are late is the host's to say; this is for a host that does not answer.
      meeting = meet(release, number_low, limit_ns == 0 ? 0 : limit_ns + kHostGraceNs, line);
      meeting.missing = 0;
      if (meeting.cause == LOCKSTEP_GPU_TOLD && plan.self == 0) {
        meeting.cause = LOCKSTEP_GPU_STOPPED;
      }
      bits = meeting.bits;
      if (plan.self == 0 && meeting.cause == LOCKSTEP_GPU_WHOLE) {
        for (unsigned other = 1 + lane; other < plan.members; other += kWarp) {
          shared(plan.windows[other]->releases[parity])
              .store(word_of(bits), ::cuda::memory_order_release);
        }
      }
    }
  }

  const bool fails = had_failed || meeting.cause != LOCKSTEP_GPU_WHOLE;
  const std::uint32_t low = bits | (fails ? LOCKSTEP_GPU_BROKEN : 0);
  if (meeting.cause != LOCKSTEP_GPU_WHOLE) tell_others(plan, word_of(low));
  if (lane != 0) return;
  own.number = number;
  own.agreed = low;
  if (meeting.cause != LOCKSTEP_GPU_WHOLE) {
    own.has_failed = 1;
    shared(line.missing).store(meeting.missing, ::cuda::memory_order_relaxed);
    const auto cause = static_cast<std::uint64_t>(meeting.cause);
    shared(line.cause).store(cause, ::cuda::memory_order_release);
  }
  shared(line.results[number % LOCKSTEP_GPU_RESULTS])
      .store(word_of(low), ::cuda::memory_order_release);
}
