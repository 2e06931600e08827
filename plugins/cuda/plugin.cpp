// The table of the cuda plugin: checks arguments and lets no exception out.
#include <cuda.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "lockstep/gpu.h"
#include "plugins/cuda/drains.hpp"
#include "plugins/cuda/driver.hpp"
#include "plugins/cuda/nvml.hpp"

namespace {

using lockstep::cuda::Drains;
using lockstep::cuda::Driver;
using lockstep::cuda::Nvml;
using lockstep::cuda::Uuid;

struct Gpus {
  Driver driver;
  Drains drains{driver};
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
    if (status == LOCKSTEP_OK) status = gpus->drains.find_functions(reason);
    if (status != LOCKSTEP_OK) return status;
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
                                 gpu_drain_drop};

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
