// Loads libnvidia-ml and asks it by UUID, which is the same in every process and container.
#include "plugins/cuda/nvml.hpp"

#include <algorithm>
#include <cstdio>

namespace lockstep::cuda {
namespace {

constexpr int kSuccess = 0;

// Of nvmlDeviceGetP2PStatus: which kind of access, and its answer.
constexpr int kRead = 0;
constexpr int kWrite = 1;
constexpr int kPeerOk = 0;

constexpr unsigned char kFabricCompleted = 3;

std::string uuid_text(const char* prefix, const Uuid& uuid) {
  std::string text = prefix;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    std::array<char, 4> digits{};
    const bool begins_group = i == 4 || i == 6 || i == 8 || i == 10;
    std::snprintf(digits.data(), digits.size(), "%s%02x", begins_group ? "-" : "", uuid[i]);
    text += digits.data();
  }
  return text;
}

}  // namespace

/// The second version of what nvmlDeviceGetGpuFabricInfoV fills in.
struct Nvml::FabricInfo {
  unsigned version;
  unsigned char cluster[16];
  int status;
  unsigned clique;
  unsigned char state;
  unsigned health;
};

Nvml::Nvml() {
  static_assert(sizeof(FabricInfo) == 36);
  std::string ignored;
  if (!library_.load("libnvidia-ml.so.1", ignored)) return;
  const bool has_all = library_.find("nvmlInit_v2", init_) &&
                       library_.find("nvmlShutdown", shutdown_) &&
                       library_.find("nvmlSystemGetDriverVersion", version_) &&
                       library_.find("nvmlDeviceGetHandleByUUID", by_uuid_) &&
                       library_.find("nvmlDeviceGetP2PStatus", peer_status_);
  library_.find("nvmlDeviceGetGpuFabricInfoV", fabric_info_);  // newer than the others
  is_open_ = has_all && init_() == kSuccess;
}

Nvml::~Nvml() {
  if (is_open_) shutdown_();
}

std::string Nvml::driver_version() const {
  std::array<char, 80> text{};
  if (!is_open_ || version_(text.data(), text.size() - 1) != kSuccess) return {};
  return text.data();
}

std::optional<Nvml::Found> Nvml::find(const Uuid& uuid) const {
  if (!is_open_) return std::nullopt;
  Device* device = nullptr;
  if (by_uuid_(uuid_text("GPU-", uuid).c_str(), &device) == kSuccess) return Found{device, false};
  if (by_uuid_(uuid_text("MIG-", uuid).c_str(), &device) == kSuccess) return Found{device, true};
  return std::nullopt;
}

std::optional<bool> Nvml::is_instance(const Uuid& uuid) const {
  const auto found = find(uuid);
  if (!found) return std::nullopt;
  return found->is_instance;
}

bool Nvml::may(const Found& a, const Found& b, int access) const {
  int status = -1;
  return peer_status_(a.device, b.device, access, &status) == kSuccess && status == kPeerOk;
}

lockstep_gpu_reach_t Nvml::reaches(const Uuid& a, const Uuid& b) const {
  const auto one = find(a);
  const auto other = find(b);
  if (!one || !other) return LOCKSTEP_GPU_CANNOT_TELL;
  if (one->is_instance || other->is_instance) return LOCKSTEP_GPU_APART;
  int status = -1;
  if (peer_status_(one->device, other->device, kRead, &status) != kSuccess) {
    return LOCKSTEP_GPU_CANNOT_TELL;
  }
  const bool is_free = may(*one, *other, kRead) && may(*one, *other, kWrite) &&
                       may(*other, *one, kRead) && may(*other, *one, kWrite);
  return is_free ? LOCKSTEP_GPU_REACHES : LOCKSTEP_GPU_APART;
}

std::optional<Nvml::Fabric> Nvml::fabric(const Uuid& uuid) const {
  const auto found = find(uuid);
  if (!found || found->is_instance || fabric_info_ == nullptr) return std::nullopt;
  FabricInfo info{};
  constexpr unsigned kVersion = 2;
  info.version = static_cast<unsigned>(sizeof info) | kVersion << 24;
  if (fabric_info_(found->device, &info) != kSuccess) return std::nullopt;
  if (info.state != kFabricCompleted || info.status != kSuccess) return std::nullopt;
  Fabric fabric{{}, info.clique};
  std::copy(std::begin(info.cluster), std::end(info.cluster), fabric.cluster.begin());
  return fabric;
}

}  // namespace lockstep::cuda
