// hwloc: from CPU masks to L3 or NUMA domains. Works with hwloc 2 and 3.
#include "runtime/bootstrap/domains.hpp"

#include <hwloc.h>

#include <map>
#include <memory>

#include <fmt/format.h>

#include "runtime/bootstrap/kept_signals.hpp"

namespace lockstep::bootstrap {
namespace {

struct TopologyDeleter {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, TopologyDeleter>;

struct BitmapDeleter {
  void operator()(hwloc_bitmap_s* bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, BitmapDeleter>;

Topology load() {
  const KeptSignals kept;
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return nullptr;
  Topology topology(raw);
  // Only CPUs and caches are needed here; devices cost most of the loading time.
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  if (hwloc_topology_load(raw) != 0) return nullptr;
  return topology;
}

Bitmap to_bitmap(std::span<const std::uint64_t> mask) {
  Bitmap bitmap(hwloc_bitmap_alloc());
  for (std::size_t cpu = 0; cpu < mask.size() * 64; ++cpu) {
    if ((mask[cpu / 64] >> (cpu % 64) & 1) != 0) {
      hwloc_bitmap_set(bitmap.get(), static_cast<unsigned>(cpu));
    }
  }
  return bitmap;
}

/// Index of the one object of `type` that holds the whole of `cpus`; -1 if there is none.
int domain_of(hwloc_topology_t topology, hwloc_obj_type_t type, hwloc_const_bitmap_t cpus) {
  const int count = hwloc_get_nbobjs_by_type(topology, type);
  for (int i = 0; i < count; ++i) {
    const hwloc_obj_t object = hwloc_get_obj_by_type(topology, type, static_cast<unsigned>(i));
    if (hwloc_bitmap_isincluded(cpus, object->cpuset) != 0) return i;
  }
  return -1;
}

/// Assigns every process; false if some process spans several domains of this type.
bool assign(hwloc_topology_t topology, hwloc_obj_type_t type, std::span<const Bitmap> masks,
            Domains& domains) {
  std::map<int, int> number;
  std::vector<int> of_process;
  for (const Bitmap& mask : masks) {
    const int index = domain_of(topology, type, mask.get());
    if (index < 0) return false;
    of_process.push_back(number.emplace(index, static_cast<int>(number.size())).first->second);
  }
  domains.of_process = std::move(of_process);
  domains.count = static_cast<std::uint32_t>(number.size());
  return true;
}

}  // namespace

Domains find_domains(std::span<const std::span<const std::uint64_t>> masks) {
  Domains domains;
  domains.kind = "node";
  domains.of_process.assign(masks.size(), 0);

  std::vector<Bitmap> bitmaps;
  Bitmap all(hwloc_bitmap_alloc());
  for (const auto& mask : masks) {
    bitmaps.push_back(to_bitmap(mask));
    hwloc_bitmap_or(all.get(), all.get(), bitmaps.back().get());
  }
  const int cpus = hwloc_bitmap_weight(all.get());
  domains.cores = cpus > 0 ? static_cast<std::uint32_t>(cpus) : 1;

  const Topology topology = load();
  if (topology == nullptr) return domains;
  if (hwloc_get_nbobjs_by_type(topology.get(), HWLOC_OBJ_L3CACHE) > 0 &&
      assign(topology.get(), HWLOC_OBJ_L3CACHE, bitmaps, domains)) {
    domains.kind = "L3";
  } else if (assign(topology.get(), HWLOC_OBJ_NUMANODE, bitmaps, domains)) {
    domains.kind = "NUMA";
  }
  return domains;
}

std::string hwloc_version() {
  const unsigned version = hwloc_get_api_version();
  return fmt::format("hwloc API {}.{}.{}", version >> 16, (version >> 8) & 0xff, version & 0xff);
}

}  // namespace lockstep::bootstrap
