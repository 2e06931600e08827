// Memory of the host that a GPU may read and write.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <string>

#include "lockstep/error.h"
#include "plugins/cuda/library.hpp"

namespace lockstep::cuda {

/// Page-locked for one context, and zero. The memory is the process's own and page-locked
/// afterwards: a context that ends takes none of it away from a host that still looks.
class LockedMemory {
 public:
  class Functions {
   public:
    lockstep_status_t find(const Library& library, std::string& why);

   private:
    friend class LockedMemory;
    decltype(cuMemHostRegister)* lock_ = nullptr;
    decltype(cuMemHostUnregister)* unlock_ = nullptr;
    decltype(cuMemHostGetDevicePointer)* address_ = nullptr;
  };

  LockedMemory() = default;
  /// In the current context. Empty afterwards where `result` is an error.
  LockedMemory(const Functions& functions, std::size_t bytes, CUresult& result);
  LockedMemory(LockedMemory&& other) noexcept;
  LockedMemory& operator=(LockedMemory&& other) noexcept;
  ~LockedMemory() { give_back(); }

  void* host() const noexcept { return host_; }
  CUdeviceptr device() const noexcept { return device_; }
  /// Somebody may still write to it: it stays as long as the process.
  void abandon() noexcept { host_ = nullptr; }

 private:
  void give_back() noexcept;

  Functions functions_{};
  void* host_ = nullptr;
  CUdeviceptr device_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace lockstep::cuda
