// Finds the pieces of the machine that --bind can hand out to ranks.
#pragma once

#include "api/cli/placement.hpp"

#include <string>
#include <vector>

namespace lockstep::cli {

enum class BindUnit { none, hwthread, core, numa, package };

/// The pieces of one kind, each cut down to the CPUs that this process may use, in machine order.
/// Empty for BindUnit::none. Throws CommandError when the machine cannot be read.
[[nodiscard]] std::vector<CpuList> usable_units(BindUnit unit);

}  // namespace lockstep::cli
