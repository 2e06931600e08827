// Kernels of gpu_bench.
#include "tests/bench/gpu/kernels.hpp"

namespace lockstep::bench::gpu {
namespace {

__global__ void empty() {}

__device__ std::uint64_t now_ns() {
  std::uint64_t now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__global__ void busy(std::uint64_t ns) {
  const std::uint64_t start = now_ns();
  while (now_ns() - start < ns) {
  }
}

}  // namespace

cudaError_t launch_empty(cudaStream_t stream) {
  empty<<<1, 1, 0, stream>>>();
  return cudaGetLastError();
}

cudaError_t launch_busy(cudaStream_t stream, std::uint64_t ns) {
  busy<<<1, 1, 0, stream>>>(ns);
  return cudaGetLastError();
}

}  // namespace lockstep::bench::gpu
