// NVIDIA's management library: GPUs that this process does not use, and fabrics between nodes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "lockstep/gpu.h"
#include "plugins/cuda/driver.hpp"

namespace lockstep::cuda {

/// Where it is missing, or does not know, everything is as if nobody had asked.
class Nvml {
 public:
  Nvml();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  /// "580.95.05"; empty: not known.
  std::string driver_version() const;
  /// Whether it is a MIG instance; nothing: not known.
  std::optional<bool> is_instance(const Uuid& uuid) const;
  lockstep_gpu_reach_t reaches(const Uuid& a, const Uuid& b) const;

  struct Fabric {
    Uuid cluster;
    std::uint32_t clique;
  };
  /// Once the GPU has joined one.
  std::optional<Fabric> fabric(const Uuid& uuid) const;

 private:
  // NVML's own header comes with CUDA's larger packages only; these few entry points have been the
  // same since they are there. `Device` stands for its opaque handle, and codes are int as enums.
  struct Device;
  struct FabricInfo;
  struct Found {
    Device* device;
    bool is_instance;
  };
  std::optional<Found> find(const Uuid& uuid) const;
  bool may(const Found& a, const Found& b, int access) const;

  Library library_;
  bool is_open_ = false;
  int (*init_)() = nullptr;
  int (*shutdown_)() = nullptr;
  int (*version_)(char* text, unsigned length) = nullptr;
  int (*by_uuid_)(const char* uuid, Device** device_p) = nullptr;
  int (*peer_status_)(Device* a, Device* b, int index, int* status_p) = nullptr;
  int (*fabric_info_)(Device* device, FabricInfo* info) = nullptr;
};

}  // namespace lockstep::cuda
