// For peers.py: what would be lost in the cost of a call from Python. C functions, by ctypes.
#include <chrono>
#include <cstdint>

#include "lockstep/lockstep.h"
#include "lockstep/streams.h"
#include "tests/bench/gpu/kernels.hpp"

#define GPU_BENCH_API extern "C" __attribute__((visibility("default")))

/// Enqueues a kernel that does nothing. @return 0, or CUDA's error.
GPU_BENCH_API int gpu_bench_empty(void* stream) {
  return lockstep::bench::gpu::launch_empty(static_cast<cudaStream_t>(stream));
}

/// Enqueues a kernel that takes so long. @return 0, or CUDA's error.
GPU_BENCH_API int gpu_bench_busy(void* stream, std::uint64_t ns) {
  return lockstep::bench::gpu::launch_busy(static_cast<cudaStream_t>(stream), ns);
}

/// Waits for everyone's stream; *us: how long that took. @return LOCKSTEP_OK, or what has failed.
GPU_BENCH_API int gpu_bench_wait_on(lockstep_group_t group, void* stream,
                                    const lockstep_call_t* call, double* us) {
  const auto start = std::chrono::steady_clock::now();
  const lockstep_status_t status = lockstep_wait_for_everyone_on(group, &stream, 1, call);
  const auto time = std::chrono::steady_clock::now() - start;
  *us = std::chrono::duration<double, std::micro>(time).count();
  return status;
}

/// Polls the session's trigger that often. @return LOCKSTEP_OK, or what the first failing poll
/// said.
GPU_BENCH_API int gpu_bench_poll(lockstep_session_t session, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) {
    int fired = 0;
    const lockstep_status_t status = lockstep_poll_trigger(session, nullptr, &fired);
    if (status != LOCKSTEP_OK) return status;
  }
  return LOCKSTEP_OK;
}
