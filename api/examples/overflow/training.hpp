// The training of one rank, on its GPU.
#pragma once

#include "lockstep/lockstep.hpp"

#include "options.hpp"
#include "words.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace overflow {

/// What has become of it; the same on all ranks.
struct Trained {
  std::uint64_t enqueued = 0;  ///< steps
  std::uint64_t applied = 0;   ///< the last step whose gradients are in the weights
  /// The step whose gradients were not finite on some rank; 0: there was none.
  std::uint64_t bad_step = 0;
  float loss = 0;  ///< mean over all ranks and the last steps or so, in nats a symbol
  std::vector<float> weights;
  std::optional<lockstep::TriggerReport> why;  ///< it has stopped before its last step
};

/// Takes the GPU of this rank, and says which: its UUID. Throws if there is none.
std::string take_gpu(const lockstep::Session& session);

/// Collective. Ends after the same number of steps on all ranks.
Trained train(lockstep::Session& session, const Options& options, const Examples& examples);

}  // namespace overflow
