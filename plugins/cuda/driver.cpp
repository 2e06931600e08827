// Loads libcuda, starts it, and asks it; every function by the name that cuda.h gives it.
#include "plugins/cuda/driver.hpp"

#include <algorithm>

#include "plugins/cuda/find.hpp"

namespace lockstep::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";

}  // namespace

lockstep_status_t Driver::find_functions(std::string& why) {
  LOCKSTEP_FIND(library_, cuInit, init_)
  LOCKSTEP_FIND(library_, cuGetErrorString, error_string_)
  LOCKSTEP_FIND(library_, cuDriverGetVersion, driver_version_)
  LOCKSTEP_FIND(library_, cuDeviceGetCount, device_count_)
  LOCKSTEP_FIND(library_, cuDeviceGet, device_)
  LOCKSTEP_FIND(library_, cuDeviceGetUuid, device_uuid_)
  LOCKSTEP_FIND(library_, cuDeviceGetName, device_name_)
  LOCKSTEP_FIND(library_, cuDeviceTotalMem, device_memory_)
  LOCKSTEP_FIND(library_, cuDeviceGetPCIBusId, device_address_)
  LOCKSTEP_FIND(library_, cuDeviceCanAccessPeer, can_access_peer_)
  LOCKSTEP_FIND(library_, cuCtxGetDevice, context_device_)
  return LOCKSTEP_OK;
}

lockstep_status_t Driver::open(std::string& why) {
  std::string reason;
  if (!library_.load(kLibrary, reason)) {
    why = "no NVIDIA driver here: " + reason +
          "; install it, or in a container pass it through (apptainer --nv, docker --gpus all)";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  if (const auto status = find_functions(why); status != LOCKSTEP_OK) return status;
  const CUresult started = init_(0);
  if (started == CUDA_ERROR_NO_DEVICE) {
    why =
        "the NVIDIA driver shows this process no GPU; ask for some (srun --gpus-per-node=N), and "
        "look at CUDA_VISIBLE_DEVICES";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  if (started != CUDA_SUCCESS) {
    why = "the NVIDIA driver does not start: " + text_of(started) + "; what does nvidia-smi say?";
    return LOCKSTEP_E_RESOURCE;
  }
  return find_devices(why);
}

lockstep_status_t Driver::find_devices(std::string& why) {
  int count = 0;
  CUresult result = device_count_(&count);
  for (int ordinal = 0; ordinal < count && result == CUDA_SUCCESS; ++ordinal) {
    CUdevice device = 0;
    CUuuid uuid{};
    result = device_(&device, ordinal);
    if (result == CUDA_SUCCESS) result = device_uuid_(&uuid, device);
    Uuid bytes;
    std::transform(std::begin(uuid.bytes), std::end(uuid.bytes), bytes.begin(),
                   [](char byte) { return static_cast<std::uint8_t>(byte); });
    devices_.push_back(device);
    uuids_.push_back(bytes);
  }
  if (result != CUDA_SUCCESS) {
    why = "the NVIDIA driver does not tell of its GPUs: " + text_of(result) +
          "; what does nvidia-smi say?";
    return LOCKSTEP_E_RESOURCE;
  }
  if (devices_.empty()) {
    why = "the NVIDIA driver shows this process no GPU";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  return LOCKSTEP_OK;
}

std::string Driver::name(std::uint32_t ordinal) const {
  std::array<char, 96> text{};
  (void)device_name_(text.data(), static_cast<int>(text.size() - 1), devices_[ordinal]);
  return text.data();
}

std::string Driver::address(std::uint32_t ordinal) const {
  std::array<char, 24> text{};
  (void)device_address_(text.data(), static_cast<int>(text.size() - 1), devices_[ordinal]);
  return text.data();
}

std::uint64_t Driver::memory(std::uint32_t ordinal) const {
  std::size_t bytes = 0;
  (void)device_memory_(&bytes, devices_[ordinal]);
  return bytes;
}

std::optional<std::uint32_t> Driver::ordinal_of(const Uuid& uuid) const {
  const auto found = std::find(uuids_.begin(), uuids_.end(), uuid);
  if (found == uuids_.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - uuids_.begin());
}

std::optional<std::uint32_t> Driver::current() const {
  CUdevice device = 0;
  if (context_device_(&device) != CUDA_SUCCESS) return std::nullopt;
  const auto found = std::find(devices_.begin(), devices_.end(), device);
  if (found == devices_.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - devices_.begin());
}

bool Driver::reach_each_other(std::uint32_t a, std::uint32_t b) const {
  int there = 0;
  int back = 0;
  return can_access_peer_(&there, devices_[a], devices_[b]) == CUDA_SUCCESS && there != 0 &&
         can_access_peer_(&back, devices_[b], devices_[a]) == CUDA_SUCCESS && back != 0;
}

int Driver::version() const {
  int version = 0;
  (void)driver_version_(&version);
  return version;
}

std::string Driver::text_of(CUresult result) const {
  const char* text = nullptr;
  if (error_string_(result, &text) != CUDA_SUCCESS || text == nullptr) {
    return "error " + std::to_string(static_cast<int>(result));
  }
  return text;
}

}  // namespace lockstep::cuda
