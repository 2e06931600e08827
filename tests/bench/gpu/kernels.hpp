// The only kernels of gpu_bench's own: one that does nothing and one that takes its time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace lockstep::bench::gpu {

/// Enqueues one thread that does nothing.
cudaError_t launch_empty(cudaStream_t stream);
/// Enqueues one thread that is busy for so long, whatever the clock of the GPU's cores.
cudaError_t launch_busy(cudaStream_t stream, std::uint64_t ns);

}  // namespace lockstep::bench::gpu
