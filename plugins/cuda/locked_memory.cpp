// Anonymous memory, which CUDA page-locks and maps.
#include "plugins/cuda/locked_memory.hpp"

#include <sys/mman.h>

#include <utility>

#include "plugins/cuda/find.hpp"

namespace lockstep::cuda {

lockstep_status_t LockedMemory::Functions::find(const Library& library, std::string& why) {
  LOCKSTEP_FIND(library, cuMemHostRegister, lock_)
  LOCKSTEP_FIND(library, cuMemHostUnregister, unlock_)
  LOCKSTEP_FIND(library, cuMemHostGetDevicePointer, address_)
  return LOCKSTEP_OK;
}

LockedMemory::LockedMemory(const Functions& functions, std::size_t bytes, CUresult& result)
    : functions_(functions), bytes_(bytes) {
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    result = CUDA_ERROR_OUT_OF_MEMORY;
    return;
  }
  // A child that the program forks would share the page, and whoever writes to it first loses it.
  (void)madvise(memory, bytes, MADV_DONTFORK);
  result = functions_.lock_(memory, bytes, CU_MEMHOSTREGISTER_DEVICEMAP);
  if (result == CUDA_SUCCESS) {
    result = functions_.address_(&device_, memory, 0);
    if (result != CUDA_SUCCESS) (void)functions_.unlock_(memory);
  }
  if (result != CUDA_SUCCESS) {
    munmap(memory, bytes);
    return;
  }
  host_ = memory;
}

LockedMemory::LockedMemory(LockedMemory&& other) noexcept
    : functions_(other.functions_),
      host_(std::exchange(other.host_, nullptr)),
      device_(other.device_),
      bytes_(other.bytes_) {}

LockedMemory& LockedMemory::operator=(LockedMemory&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  functions_ = other.functions_;
  host_ = std::exchange(other.host_, nullptr);
  device_ = other.device_;
  bytes_ = other.bytes_;
  return *this;
}

void LockedMemory::give_back() noexcept {
  if (host_ == nullptr) return;
  (void)functions_.unlock_(host_);
  munmap(host_, bytes_);
  host_ = nullptr;
}

}  // namespace lockstep::cuda
