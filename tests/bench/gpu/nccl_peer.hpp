// NCCL, where it was found: its all-reduce, and the barrier of its device API.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

namespace lockstep::bench::gpu {

/// One communicator, over all ranks, and one integer of the GPU's memory. Errors are exceptions.
class NcclPeer {
 public:
  /// What rank 0 makes and all need, as bytes.
  static std::string new_id();

  /// Collective; waits for the others without a limit.
  NcclPeer(const std::string& id, int rank, int ranks);
  ~NcclPeer();
  NcclPeer(NcclPeer&&) noexcept;
  NcclPeer& operator=(NcclPeer&&) noexcept;

  /// Enqueues an all-reduce of the integer.
  void all_reduce(cudaStream_t stream);
  /// Collective: makes the barrier of GPUs that reach each other's memory. Throws where this NCCL,
  /// or these GPUs, have none.
  void open_barrier();
  /// Enqueues it: a kernel of one warp.
  void barrier(cudaStream_t stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::bench::gpu
