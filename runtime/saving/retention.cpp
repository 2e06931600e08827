// Arithmetic of keeping the last n and every m-th.
#include "runtime/saving/retention.hpp"

#include <algorithm>

namespace lockstep::saving {

std::vector<std::uint64_t> surplus(std::vector<std::uint64_t> steps, std::uint64_t newest,
                                   const Retention& retention) {
  if (retention.last == 0) return {};
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  steps.resize(steps.size() - std::min<std::uint64_t>(retention.last, steps.size()));
  std::erase_if(steps, [&](std::uint64_t step) {
    return step == newest || (retention.every != 0 && step % retention.every == 0);
  });
  return steps;
}

}  // namespace lockstep::saving
