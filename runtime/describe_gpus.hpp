// What `lockstep info` and `lockstep topo` show of GPUs, as JSON.
#pragma once

#include <string>

#include "runtime/config/config.hpp"
#include "runtime/config/environment.hpp"
#include "runtime/session.hpp"

namespace lockstep {

/// The plugin, the GPUs that this process sees, and the one that it would take. Starts the driver,
/// makes no context.
std::string describe_gpus(const Config& config, const Environment& environment);

/// Each rank's GPU and the GPU groups: what to add to the topology, "{}" if nobody has one.
/// Collective over the job.
Result<std::string> describe_gpu_groups(Session& session);

}  // namespace lockstep
