// The memory is the process's own and page-locked afterwards: a context that ends takes none of it
// away from a host that still looks.
#include "plugins/cuda/words.hpp"

#include <sys/mman.h>

#include <atomic>

namespace lockstep::cuda {

Words::Words(const Functions& functions, CUresult& result) : functions_(functions) {
  constexpr std::size_t kBytes = kCount * sizeof(Line);
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    result = CUDA_ERROR_OUT_OF_MEMORY;
    return;
  }
  // A child that the program forks would share the page, and whoever writes to it first loses it.
  (void)madvise(memory, kBytes, MADV_DONTFORK);
  result = functions_.lock(memory, kBytes, CU_MEMHOSTREGISTER_DEVICEMAP);
  if (result == CUDA_SUCCESS) {
    result = functions_.address(&address_, memory, 0);
    if (result != CUDA_SUCCESS) (void)functions_.unlock(memory);
  }
  if (result != CUDA_SUCCESS) {
    munmap(memory, kBytes);
    return;
  }
  lines_ = static_cast<Line*>(memory);
}

Words::~Words() {
  if (lines_ == nullptr) return;
  for (std::size_t index = 0; index < kCount; ++index) {
    if (!is_free(index)) return;
  }
  (void)functions_.unlock(lines_);
  munmap(lines_, kCount * sizeof(Line));
}

bool Words::is_free(std::size_t index) const noexcept {
  return std::atomic_ref(lines_[index].word).load(std::memory_order_acquire) == expected_[index];
}

std::optional<Words::Given> Words::give() {
  for (std::size_t tried = 0; tried < kCount; ++tried) {
    const std::size_t index = next_++ % kCount;
    if (!is_free(index)) continue;
    const std::uint32_t value = ++expected_[index];
    return Given{index, value, address_ + index * sizeof(Line)};
  }
  return std::nullopt;
}

void Words::take_back(const Given& given) {
  expected_[given.index] = given.value - 1;
}

bool Words::has_come(const Given& given) const noexcept {
  return is_free(given.index) || expected_[given.index] != given.value;
}

}  // namespace lockstep::cuda
