// A word is free when what its last writer was to bring has come.
#include "plugins/cuda/words.hpp"

#include <atomic>

namespace lockstep::cuda {

Words::Words(const LockedMemory::Functions& functions, CUresult& result)
    : memory_(functions, kCount * sizeof(Line), result),
      lines_(static_cast<Line*>(memory_.host())) {}

Words::~Words() {
  if (lines_ == nullptr) return;
  for (std::size_t index = 0; index < kCount; ++index) {
    if (is_free(index)) continue;
    memory_.abandon();
    return;
  }
}

bool Words::is_free(std::size_t index) const noexcept {
  return std::atomic_ref(lines_[index].word).load(std::memory_order_acquire) == expected_[index];
}

std::optional<Words::Given> Words::give() {
  for (std::size_t tried = 0; tried < kCount; ++tried) {
    const std::size_t index = next_++ % kCount;
    if (!is_free(index)) continue;
    const std::uint32_t value = ++expected_[index];
    return Given{index, value, memory_.device() + index * sizeof(Line)};
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
