// An interrupted run, in a file: what each rank had counted, so that the next one goes on exactly
// there.
#pragma once

#include "lockstep/lockstep.hpp"

#include "dataset.hpp"
#include "options.hpp"
#include "training.hpp"

#include <filesystem>

namespace ngram {

/// Where this rank's training begins: at the checkpoint if there is one, else at nothing.
/// Collective. Throws on all ranks if the checkpoint is another run's, or damaged.
Training resume(lockstep::Session& session, const Options& options, const Dataset& data);

/// Saves what all ranks have done so far. `folder`: for the ranks' parts, shared by all nodes.
/// Collective.
void save_checkpoint(lockstep::Session& session, const Options& options, const Dataset& data,
                     const Training& training, const std::filesystem::path& folder);

}  // namespace ngram
