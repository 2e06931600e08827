// CUDA's driver: which GPUs this process sees, and which of them reach each other.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/error.h"
#include "plugins/cuda/library.hpp"

namespace lockstep::cuda {

using Uuid = std::array<std::uint8_t, 16>;

class Driver {
 public:
  /// Starts it; makes no context. On failure `why` says what to do.
  lockstep_status_t open(std::string& why);

  std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(devices_.size()); }
  CUdevice device(std::uint32_t ordinal) const noexcept { return devices_[ordinal]; }
  const Uuid& uuid(std::uint32_t ordinal) const noexcept { return uuids_[ordinal]; }
  std::string name(std::uint32_t ordinal) const;
  std::string address(std::uint32_t ordinal) const;  ///< on the PCI bus
  std::uint64_t memory(std::uint32_t ordinal) const;
  std::optional<std::uint32_t> ordinal_of(const Uuid& uuid) const;
  /// The ordinal of the calling thread's current context's.
  std::optional<std::uint32_t> current() const;
  /// Whether each can access the other's memory.
  bool reach_each_other(std::uint32_t a, std::uint32_t b) const;
  /// Of the interface, as 1000 * major + 10 * minor.
  int version() const;
  /// For what others find in it.
  const Library& library() const noexcept { return library_; }
  std::string text_of(CUresult result) const;

 private:
  lockstep_status_t find_functions(std::string& why);
  lockstep_status_t find_devices(std::string& why);

  Library library_;
  decltype(cuInit)* init_ = nullptr;
  decltype(cuGetErrorString)* error_string_ = nullptr;
  decltype(cuDriverGetVersion)* driver_version_ = nullptr;
  decltype(cuDeviceGetCount)* device_count_ = nullptr;
  decltype(cuDeviceGet)* device_ = nullptr;
  decltype(cuDeviceGetUuid)* device_uuid_ = nullptr;
  decltype(cuDeviceGetName)* device_name_ = nullptr;
  decltype(cuDeviceTotalMem)* device_memory_ = nullptr;
  decltype(cuDeviceGetPCIBusId)* device_address_ = nullptr;
  decltype(cuDeviceCanAccessPeer)* can_access_peer_ = nullptr;
  decltype(cuCtxGetDevice)* context_device_ = nullptr;
  std::vector<CUdevice> devices_;  ///< by ordinal
  std::vector<Uuid> uuids_;
};

}  // namespace lockstep::cuda
