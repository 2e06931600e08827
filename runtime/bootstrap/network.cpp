// The setting first, then Slurm's word.
#include "runtime/bootstrap/network.hpp"

#include "runtime/observe/log.hpp"

namespace lockstep::bootstrap {

topology::SwitchPath find_switches(const Config& config, const Environment& environment) {
  if (config.switches == "none") return {};
  if (config.switches != "auto")
    return topology::read_path(config.switches).value_or(topology::SwitchPath{});
  const auto address = environment.get("SLURM_TOPOLOGY_ADDR");
  const auto pattern = environment.get("SLURM_TOPOLOGY_ADDR_PATTERN");
  if (!address || !pattern) return {};
  const auto path = topology::read_slurm_address(*address, *pattern);
  if (!path) {
    log::info("SLURM_TOPOLOGY_ADDR={} does not fit its pattern {}: no switches are known", *address,
              *pattern);
  }
  return path.value_or(topology::SwitchPath{});
}

}  // namespace lockstep::bootstrap
