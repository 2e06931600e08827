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
  }

 private:
  friend class DeviceWord;
  explicit DeviceTrigger(std::uint64_t* word) : word_(word) {}
  std::uint64_t* word_;  ///< by its address on the device
};

/// A word in the host's memory that kernels on the current device, and any other of this process,
/// can write to; bound to a trigger as long as it lives. To end when no kernel uses it any more.
class DeviceWord {
 public:
  /// Throws std::runtime_error with CUDA's text if there is no such memory.
  explicit DeviceWord(Trigger trigger) : trigger_(trigger) {
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

  DeviceTrigger trigger() const { return DeviceTrigger(device_); }

 private:
  static void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
  }

  Trigger trigger_;
  std::uint64_t* host_ = nullptr;
  std::uint64_t* device_ = nullptr;
};

}  // namespace lockstep
