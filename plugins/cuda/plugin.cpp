// The table of the cuda plugin: checks arguments and lets no exception out.
#include <cuda.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "lockstep/gpu.h"
#include "plugins/cuda/barrier.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/drains.hpp"
#include "plugins/cuda/driver.hpp"
#include "plugins/cuda/nvml.hpp"

namespace {

using lockstep::cuda::Barrier;
using lockstep::cuda::BarrierFunctions;
using lockstep::cuda::Contexts;
using lockstep::cuda::Drains;
using lockstep::cuda::Driver;
using lockstep::cuda::Nvml;
using lockstep::cuda::Uuid;

struct Gpus {
  Driver driver;
  Contexts contexts;
  Drains drains{driver, contexts};
  BarrierFunctions barriers;
  lockstep_status_t has_barriers = LOCKSTEP_OK;
  std::string why_no_barriers;
  std::unique_ptr<Nvml> nvml;
  std::string versions;
};

Gpus& gpus_of(void* self) {
  return *static_cast<Gpus*>(self);
}

Uuid uuid_of(const std::uint8_t* bytes) {
  Uuid uuid;
  std::copy_n(bytes, uuid.size(), uuid.begin());
  return uuid;
}

std::string versions_of(const Gpus& gpus) {
  const int version = gpus.driver.version();
  const std::string driver = gpus.nvml->driver_version();
  return (driver.empty() ? "driver of unknown version" : "driver " + driver) + ", CUDA " +
         std::to_string(version / 1000) + '.' + std::to_string(version % 1000 / 10);
}

/// Calls body(reason); errors and exceptions say why.
template <class Body>
lockstep_status_t explain(char* why, std::size_t why_size, Body&& body) noexcept {
  try {
    std::string reason;
    const lockstep_status_t status = body(reason);
    if (status < 0) std::snprintf(why, why_size, "%s", reason.c_str());
    return status;
  } catch (const std::exception& error) {
    std::snprintf(why, why_size, "%s", error.what());
  } catch (...) {
    std::snprintf(why, why_size, "unknown exception");
  }
  return LOCKSTEP_E_RESOURCE;
}

lockstep_status_t gpu_open(const lockstep_environment_t*, void** self_p, char* why,
                           std::size_t why_size) {
  return explain(why, why_size, [&](std::string& reason) {
    auto gpus = std::make_unique<Gpus>();
    lockstep_status_t status = gpus->driver.open(reason);
    const lockstep::cuda::Library& library = gpus->driver.library();
    if (status == LOCKSTEP_OK) status = gpus->contexts.find_functions(library, reason);
    if (status == LOCKSTEP_OK) status = gpus->drains.find_functions(reason);
    if (status != LOCKSTEP_OK) return status;
    gpus->has_barriers = gpus->barriers.find(library, gpus->why_no_barriers);
    gpus->nvml = std::make_unique<Nvml>();
    gpus->versions = versions_of(*gpus);
    *self_p = gpus.release();
    return LOCKSTEP_OK;
  });
}

void gpu_close(void* self) {
  delete static_cast<Gpus*>(self);
}

const char* gpu_driver(void* self) {
  return gpus_of(self).versions.c_str();
}

std::uint32_t gpu_count(void* self) {
  return gpus_of(self).driver.count();
}

lockstep_gpu_device_t describe(const Gpus& gpus, std::uint32_t ordinal) {
  lockstep_gpu_device_t device{};
  const Uuid& uuid = gpus.driver.uuid(ordinal);
  const std::string name = gpus.driver.name(ordinal);
  std::copy(uuid.begin(), uuid.end(), device.uuid);
  std::snprintf(device.name, sizeof device.name, "%s", name.c_str());
  std::snprintf(device.address, sizeof device.address, "%s", gpus.driver.address(ordinal).c_str());
  device.memory = gpus.driver.memory(ordinal);
  // CUDA itself says so in the name only: "NVIDIA H100 80GB HBM3 MIG 1g.10gb".
  const bool is_instance =
      gpus.nvml->is_instance(uuid).value_or(name.find(" MIG ") != std::string::npos);
  device.is_instance = is_instance ? 1 : 0;
  if (const auto fabric = gpus.nvml->fabric(uuid)) {
    std::copy(fabric->cluster.begin(), fabric->cluster.end(), device.fabric);
    device.clique = fabric->clique;
  }
  return device;
}

lockstep_status_t gpu_device(void* self, std::uint32_t ordinal, lockstep_gpu_device_t* device_p) {
  const Gpus& gpus = gpus_of(self);
  if (device_p == nullptr || ordinal >= gpus.driver.count()) return LOCKSTEP_E_INVALID;
  try {
    lockstep_gpu_device_t device = describe(gpus, ordinal);
    device.size = std::min<std::uint32_t>(device_p->size, sizeof device);
    std::memcpy(device_p, &device, device.size);
    return LOCKSTEP_OK;
  } catch (...) {
    return LOCKSTEP_E_RESOURCE;
  }
}

std::int32_t gpu_current(void* self) {
  const auto ordinal = gpus_of(self).driver.current();
  return ordinal ? static_cast<std::int32_t>(*ordinal) : -1;
}

lockstep_gpu_reach_t gpu_reaches(void* self, const std::uint8_t* a_uuid,
                                 const std::uint8_t* b_uuid) {
  if (a_uuid == nullptr || b_uuid == nullptr) return LOCKSTEP_GPU_CANNOT_TELL;
  try {
    const Gpus& gpus = gpus_of(self);
    const Uuid a = uuid_of(a_uuid);
    const Uuid b = uuid_of(b_uuid);
    const auto one = gpus.driver.ordinal_of(a);
    const auto other = gpus.driver.ordinal_of(b);
    if (!one || !other) return gpus.nvml->reaches(a, b);
    return gpus.driver.reach_each_other(*one, *other) ? LOCKSTEP_GPU_REACHES : LOCKSTEP_GPU_APART;
  } catch (...) {
    return LOCKSTEP_GPU_CANNOT_TELL;
  }
}

lockstep_status_t gpu_drain_start(void* self, void* const* streams, std::uint32_t count,
                                  std::uint64_t* ticket_p, char* why, std::size_t why_size) {
  if (ticket_p == nullptr || (streams == nullptr && count != 0)) return LOCKSTEP_E_INVALID;
  if (count > LOCKSTEP_GPU_STREAMS_MAX) return LOCKSTEP_E_LIMIT;
  return explain(why, why_size, [&](std::string& reason) {
    std::uint64_t ticket = 0;
    const lockstep_status_t status = gpus_of(self).drains.start({streams, count}, ticket, reason);
    if (status == LOCKSTEP_OK) *ticket_p = ticket;
    return status;
  });
}

lockstep_status_t gpu_drain_test(void* self, std::uint64_t ticket, char* why,
                                 std::size_t why_size) {
  return explain(why, why_size,
                 [&](std::string& reason) { return gpus_of(self).drains.test(ticket, reason); });
}

void gpu_drain_drop(void* self, std::uint64_t ticket) {
  gpus_of(self).drains.drop(ticket);
}

Barrier& barrier_of(void* barrier) {
  return *static_cast<Barrier*>(barrier);
}

lockstep_status_t gpu_barrier_open(void* self, std::uint32_t ordinal,
                                   const lockstep_gpu_barrier_setup_t* setup, void** barrier_p,
                                   lockstep_gpu_barrier_view_t* view_p, char* why,
                                   std::size_t why_size) {
  const Gpus& gpus = gpus_of(self);
  if (setup == nullptr || setup->size < sizeof *setup || setup->members == 0 ||
      setup->members > LOCKSTEP_GPU_PEERS_MAX || setup->member >= setup->members ||
      ordinal >= gpus.driver.count() || barrier_p == nullptr || view_p == nullptr ||
      view_p->size < sizeof *view_p) {
    return LOCKSTEP_E_INVALID;
  }
  return explain(why, why_size, [&](std::string& reason) {
    reason = gpus.why_no_barriers;
    if (gpus.has_barriers != LOCKSTEP_OK) return gpus.has_barriers;
    const Barrier::Around around{gpus.driver, gpus.contexts, gpus.barriers};
    auto made = std::make_unique<Barrier>(around);
    lockstep_gpu_barrier_view_t view{};
    view.size = sizeof view;
    const lockstep_status_t status = made->open(ordinal, *setup, view, reason);
    if (status != LOCKSTEP_OK) return status;
    *view_p = view;
    *barrier_p = made.release();
    return LOCKSTEP_OK;
  });
}

lockstep_status_t gpu_barrier_connect(void* barrier, std::uint32_t member, std::int32_t memory,
                                      char* why, std::size_t why_size) {
  if (!barrier_of(barrier).has_peer(member) || memory < 0) return LOCKSTEP_E_INVALID;
  return explain(why, why_size, [&](std::string& reason) {
    return barrier_of(barrier).connect(member, memory, reason);
  });
}

lockstep_status_t gpu_barrier_enqueue(void* barrier, void* stream, std::uint64_t limit_ns,
                                      std::uint32_t reports, std::uint32_t* is_captured_p,
                                      char* why, std::size_t why_size) {
  return explain(why, why_size, [&](std::string& reason) {
    bool is_captured = false;
    const lockstep_status_t status = barrier_of(barrier).enqueue(
        static_cast<CUstream>(stream), limit_ns, reports != 0, is_captured, reason);
    if (is_captured_p != nullptr) *is_captured_p = is_captured ? 1 : 0;
    return status;
  });
}

lockstep_status_t gpu_barrier_ask(void* barrier, std::uint64_t* number_p, std::uint32_t* low_p,
                                  char* why, std::size_t why_size) {
  return explain(why, why_size, [&](std::string& reason) {
    return barrier_of(barrier).ask(*number_p, *low_p, reason);
  });
}

void gpu_barrier_drain(void* barrier) {
  barrier_of(barrier).drain();
}

void gpu_barrier_close(void* barrier) {
  delete &barrier_of(barrier);
}

constexpr lockstep_gpu_t kGpu = {sizeof(lockstep_gpu_t),
                                 gpu_open,
                                 gpu_close,
                                 gpu_driver,
                                 gpu_count,
                                 gpu_device,
                                 gpu_current,
                                 gpu_reaches,
                                 gpu_drain_start,
                                 gpu_drain_test,
                                 gpu_drain_drop,
                                 gpu_barrier_open,
                                 gpu_barrier_connect,
                                 gpu_barrier_enqueue,
                                 gpu_barrier_ask,
                                 gpu_barrier_drain,
                                 gpu_barrier_close};

}  // namespace

namespace lockstep::cuda {

// In a namespace because the struct of the ABI has the same name; the symbol is the plain one.
extern "C" __attribute__((visibility("default"))) const lockstep_plugin_t* lockstep_plugin() {
  static char version[64];
  static const lockstep_plugin_t plugin = [] {
    std::snprintf(version, sizeof version, "built for CUDA %d.%d", CUDA_VERSION / 1000,
                  CUDA_VERSION % 1000 / 10);
    return lockstep_plugin_t{LOCKSTEP_PLUGIN_ABI,
                             sizeof(lockstep_plugin_t),
                             "cuda",
                             version,
                             "GPUs of NVIDIA's, as the CUDA driver and NVML tell them",
                             nullptr,
                             nullptr,
                             &kGpu};
  }();
  return &plugin;
}

}  // namespace lockstep::cuda
