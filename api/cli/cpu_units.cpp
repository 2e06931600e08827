// Reads cores, NUMA domains and packages with hwloc and keeps what the affinity mask allows.
#include "api/cli/cpu_units.hpp"

#include "api/cli/command_error.hpp"

#include <hwloc.h>
#include <sched.h>

#include <memory>

namespace lockstep::cli {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;

struct FreeBitmap {
  void operator()(hwloc_bitmap_s* bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

Topology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw CommandError(1, "--bind: hwloc does not start");
  Topology topology(raw);
  if (hwloc_topology_load(raw) != 0) throw CommandError(1, "--bind: hwloc cannot read the machine");
  return topology;
}

hwloc_obj_type_t type_of(BindUnit unit) {
  switch (unit) {
    case BindUnit::hwthread:
      return HWLOC_OBJ_PU;
    case BindUnit::numa:
      return HWLOC_OBJ_NUMANODE;
    case BindUnit::package:
      return HWLOC_OBJ_PACKAGE;
    case BindUnit::none:
    case BindUnit::core:
      break;
  }
  return HWLOC_OBJ_CORE;
}

}  // namespace

std::vector<CpuList> usable_units(BindUnit unit) {
  std::vector<CpuList> units;
  if (unit == BindUnit::none) return units;
  const Topology topology = load_topology();
  const Bitmap allowed(hwloc_bitmap_alloc());
  // The mask of this process, not of the machine: batch systems hand out parts of a node.
  if (hwloc_get_cpubind(topology.get(), allowed.get(), HWLOC_CPUBIND_PROCESS) != 0) {
    throw CommandError(1, "--bind: the affinity mask of this process cannot be read");
  }
  const Bitmap part(hwloc_bitmap_alloc());
  hwloc_obj_t object = nullptr;
  while ((object = hwloc_get_next_obj_by_type(topology.get(), type_of(unit), object)) != nullptr) {
    hwloc_bitmap_and(part.get(), object->cpuset, allowed.get());
    CpuList cpus;
    for (int cpu = hwloc_bitmap_first(part.get()); cpu >= 0;
         cpu = hwloc_bitmap_next(part.get(), cpu)) {
      cpus.push_back(cpu);
    }
    if (!cpus.empty()) units.push_back(std::move(cpus));
  }
  if (units.empty()) throw CommandError(1, "--bind: the machine shows no such unit");
  return units;
}

}  // namespace lockstep::cli
