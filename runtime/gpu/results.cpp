// Words carry half of their number; the other half is what the last look has left.
#include "runtime/gpu/results.hpp"

namespace lockstep::gpu {

std::uint64_t Results::over() noexcept {
  for (;;) {
    const std::uint64_t next = over_ + 1;
    const std::uint64_t word = load(line_.results[next % LOCKSTEP_GPU_RESULTS]);
    const std::uint32_t ahead =
        static_cast<std::uint32_t>(word >> 32) - static_cast<std::uint32_t>(next);
    if (ahead > INT32_MAX) return over_;  // an older one's, or nobody's yet
    over_ = next + ahead;
  }
}

std::optional<std::uint64_t> Results::word(std::uint64_t number) const noexcept {
  const std::uint64_t word = load(line_.results[number % LOCKSTEP_GPU_RESULTS]);
  if (!is_of(word, number)) return std::nullopt;
  return word;
}

}  // namespace lockstep::gpu
