// Memory of another rank's GPU, which kernels write to: what barriers have to order.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "lockstep/lockstep.hpp"
#include "tests/job/everybody.hpp"

namespace lockstep::test {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

constexpr unsigned kWords = 4096;  ///< of a slot
constexpr unsigned kThreads = 256;

/// Two slots of words here, which the rank before writes to, and those of the next rank, which this
/// one writes to. In a job of one rank they are the same.
class Neighbour {
 public:
  explicit Neighbour(Group& group) : group_(group) {
    check(cudaMalloc(&mine_, 2 * kWords * sizeof *mine_), "cudaMalloc");
    check(cudaMemset(mine_, 0, 2 * kWords * sizeof *mine_), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    cudaIpcMemHandle_t handle{};
    check(cudaIpcGetMemHandle(&handle, mine_), "cudaIpcGetMemHandle");
    const std::vector<cudaIpcMemHandle_t> all = everybodys(group, handle);
    next_ = mine_;
    if (group.size() > 1) {
      void* memory = nullptr;
      check(cudaIpcOpenMemHandle(&memory, all[(group.rank() + 1) % group.size()],
                                 cudaIpcMemLazyEnablePeerAccess),
            "cudaIpcOpenMemHandle");
      next_ = static_cast<std::uint32_t*>(memory);
    }
  }
  ~Neighbour() {
    cudaDeviceSynchronize();
    if (next_ != mine_) cudaIpcCloseMemHandle(next_);
    group_.wait_for_everyone();
    cudaFree(mine_);
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

  std::uint32_t* mine() const { return mine_; }
  std::uint32_t* next() const { return next_; }

 private:
  Group& group_;
  std::uint32_t* mine_ = nullptr;
  std::uint32_t* next_ = nullptr;
};

/// What the rank before writes in a step, and where.
__host__ __device__ inline std::uint32_t value_of(std::uint64_t step, unsigned word) {
  return static_cast<std::uint32_t>(step * 2654435761u + word * 40503u) | 1u;
}

/// The step is counted on the GPU, so that a graph can be launched again and again.
struct Steps {
  std::uint64_t step;
  std::uint64_t wrong;  ///< words that were not as they should be
};

__global__ void write_to(std::uint32_t* next, const Steps* steps, unsigned long long spin_ns) {
  const std::uint64_t step = steps->step;
  if (threadIdx.x == 0 && spin_ns != 0) {
    std::uint64_t begin;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    std::uint64_t time = begin;
    while (time - begin < spin_ns) asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  }
  __syncthreads();
  std::uint32_t* const slot = next + step % 2 * kWords;
  for (unsigned i = threadIdx.x; i < kWords; i += blockDim.x) slot[i] = value_of(step, i);
}

__global__ void look_at(const std::uint32_t* mine, Steps* steps) {
  const std::uint64_t step = steps->step;
  const std::uint32_t* const slot = mine + step % 2 * kWords;
  unsigned long long wrong = 0;
  for (unsigned i = threadIdx.x; i < kWords; i += blockDim.x) {
    if (slot[i] != value_of(step, i)) ++wrong;
  }
  if (wrong != 0) atomicAdd(reinterpret_cast<unsigned long long*>(&steps->wrong), wrong);
  __syncthreads();
  if (threadIdx.x == 0) steps->step = step + 1;
}

}  // namespace lockstep::test
