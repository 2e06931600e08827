// The cache or memory domains of a node, and which of them each process runs in.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep::bootstrap {

struct Domains {
  std::string kind;             ///< "L3", "NUMA" or "node" when there is only one
  std::vector<int> of_process;  ///< per process; numbered from 0 in order of first appearance
  std::uint32_t count = 1;
  std::uint32_t cores = 1;  ///< logical CPUs that the processes together may use
};

/// Looks at the machine with hwloc, once, for all processes of the node. Each mask has one bit per
/// logical CPU. A process that may run in several domains makes the whole node one domain: its
/// cache lines travel anyway. Without hwloc's help everything is one domain.
Domains find_domains(std::span<const std::span<const std::uint64_t>> masks);

/// "hwloc 2.9.0", as found at run time.
std::string hwloc_version();

}  // namespace lockstep::bootstrap
