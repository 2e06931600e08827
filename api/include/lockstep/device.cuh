// Triggers that kernels set: by one store, and without anybody's waiting for the device. For nvcc,
// on top of the CUDA runtime; the library itself knows nothing of CUDA.
//
//   lockstep::DeviceWord word(overflow);               // on the host: binds a word to the trigger
//   train<<<blocks, threads, 0, stream>>>(word.trigger(), step, ...);
//   if (overflow.poll()) ...                           // some steps later, in the same on all ranks
//
//   __global__ void train(lockstep::DeviceTrigger overflow, ...) {
//     if (!isfinite(loss)) overflow.set(step);
//   }
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>

#include "lockstep/lockstep.hpp"

namespace lockstep {

/// A trigger as kernels see it; passed to them by value. Threads of any block and stream may set it.
class DeviceTrigger {
 public:
  /// Sets the trigger on this rank, as if the host had. Of several values that the host has not
  /// seen yet the last one counts. Nothing else that the kernel has written is ordered before it.
  __device__ void set(std::uint64_t value = 1) const {
    *static_cast<volatile std::uint64_t*>(word_) = value != 0 ? value : 1;
    if (bit_.raised != nullptr) atomicOr(bit_.raised, bit_.mask);
  }
  /// With a bit: whether it was set on any member before the last stream barrier that the calling
  /// kernel stands behind on its stream; the same on all of them.
  __device__ bool is_agreed() const { return (word_of_last() & bit_.mask) != 0; }
  /// With a bit: whether that barrier has failed, and ordered nothing.
  __device__ bool has_barrier_failed() const { return word_of_last() >> 31 != 0; }

 private:
  friend class DeviceWord;
  DeviceTrigger(std::uint64_t* word, const lockstep_stream_bit_t& bit) : word_(word), bit_(bit) {}
  __device__ std::uint32_t word_of_last() const {
    return *static_cast<const volatile std::uint32_t*>(bit_.agreed);
  }
  std::uint64_t* word_;  ///< by its address on the device
  lockstep_stream_bit_t bit_;
};

/// A word in the host's memory that kernels on the current device, and any other of this process,
/// can write to; bound to a trigger as long as it lives. To end when no kernel uses it any more.
class DeviceWord {
 public:
  /// Throws std::runtime_error with CUDA's text if there is no such memory.
  /// @param bit  Trigger::stream_bit(): kernels raise the trigger for stream barriers, too.
  explicit DeviceWord(Trigger trigger, const lockstep_stream_bit_t& bit = {})
      : trigger_(trigger), bit_(bit) {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, sizeof(std::uint64_t), cudaHostAllocMapped | cudaHostAllocPortable),
          "cudaHostAlloc");
    host_ = ::new (memory) std::uint64_t{0};
    void* device = nullptr;
    try {
      check(cudaHostGetDevicePointer(&device, host_, 0), "cudaHostGetDevicePointer");
      trigger_.on_word(host_);
    } catch (...) {
      cudaFreeHost(host_);
      throw;
    }
    device_ = static_cast<std::uint64_t*>(device);
  }
  ~DeviceWord() {
    try {
      trigger_.on_word(nullptr);
    } catch (...) {  // the session is over: nobody looks there any more
    }
    cudaFreeHost(host_);
  }
  DeviceWord(const DeviceWord&) = delete;
  DeviceWord& operator=(const DeviceWord&) = delete;

  DeviceTrigger trigger() const { return DeviceTrigger(device_, bit_); }

 private:
  static void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
  }

  Trigger trigger_;
  lockstep_stream_bit_t bit_;
  std::uint64_t* host_ = nullptr;
  std::uint64_t* device_ = nullptr;
};

}  // namespace lockstep
