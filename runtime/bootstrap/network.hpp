// Where this node hangs in the network, as the scheduler or the user says it.
#pragma once

#include "runtime/config/config.hpp"
#include "runtime/config/environment.hpp"
#include "runtime/topology/switches.hpp"

namespace lockstep::bootstrap {

/// Empty where nothing is known. An address of Slurm's that makes no sense is as good as none.
topology::SwitchPath find_switches(const Config& config, const Environment& environment);

}  // namespace lockstep::bootstrap
