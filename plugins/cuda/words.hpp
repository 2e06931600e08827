// Words of host memory that streams write to: each is given to one drain at a time.
#pragma once

#include <cuda.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "plugins/cuda/locked_memory.hpp"

namespace lockstep::cuda {

/// Page-locked for one context. A word is given out with the value that its writer brings, and is
/// free again when that has come: until then a late write could be taken for a newer one.
class Words {
 public:
  static constexpr std::size_t kCount = 64;

  /// In the current context. Not to be used where `result` is an error.
  Words(const LockedMemory::Functions& functions, CUresult& result);
  /// Keeps the memory if a write is still to come.
  ~Words();
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;

  struct Given {
    std::size_t index;
    std::uint32_t value;  ///< to be written
    CUdeviceptr address;
  };
  /// Nothing: all are taken.
  std::optional<Given> give();
  /// Nothing will be written after all.
  void take_back(const Given& given);
  bool has_come(const Given& given) const noexcept;

 private:
  /// A line each: a GPU's write takes nothing along.
  struct alignas(64) Line {
    std::uint32_t word;
  };
  bool is_free(std::size_t index) const noexcept;

  LockedMemory memory_;
  Line* lines_ = nullptr;
  std::array<std::uint32_t, kCount> expected_{};
  std::size_t next_ = 0;
};

}  // namespace lockstep::cuda
