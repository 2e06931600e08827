// A libnvidia-ml without GPUs, beside fake_cuda.cpp:
//   FAKE_NVML        the letters of the devices that this process may see; the library is there
//   FAKE_FABRIC      letters in the fabric between nodes, and FAKE_FABRIC_STATE, 3 if it is not set
//   FAKE_PEERS       as there
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr int kNotFound = 6;
constexpr int kNotSupported = 3;

std::string from_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// A handle points to its letter here.
char letters[256];

char letter_of(const void* device) {
  return *static_cast<const char*>(device);
}

bool is_instance(char letter) {
  return letter >= 'a';
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  return std::getenv("FAKE_NVML") != nullptr ? 0 : kNotFound;
}

int nvmlShutdown() {
  return 0;
}

int nvmlSystemGetDriverVersion(char* text, unsigned length) {
  std::snprintf(text, length, "555.42");
  return 0;
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  // "GPU-41414141-...": all bytes are the letter.
  const auto letter = static_cast<char>(std::strtol(std::string(uuid + 4, 2).c_str(), nullptr, 16));
  const bool is_known = from_environment("FAKE_NVML").find(letter) != std::string::npos;
  const char* const prefix = is_instance(letter) ? "MIG-" : "GPU-";
  if (!is_known || std::strncmp(uuid, prefix, 4) != 0) return kNotFound;
  if (std::strlen(uuid) != 40) return kNotFound;
  char* const place = &letters[static_cast<unsigned char>(letter)];
  *place = letter;
  *device = place;
  return 0;
}

int nvmlDeviceGetP2PStatus(void* device, void* peer, int, int* status) {
  const std::string pair = {letter_of(device), letter_of(peer)};
  *status = from_environment("FAKE_PEERS").find(pair) != std::string::npos ? 0 : 5;
  return 0;
}

/// Laid out by hand, as the real one is: version, cluster, status, clique, state, health.
int nvmlDeviceGetGpuFabricInfoV(void* device, unsigned char* info) {
  unsigned version = 0;
  std::memcpy(&version, info, sizeof version);
  if (version != (36u | 2u << 24)) return kNotSupported;
  if (from_environment("FAKE_FABRIC").find(letter_of(device)) == std::string::npos) {
    return kNotSupported;
  }
  std::memset(info + 4, 0xab, 16);
  std::memset(info + 20, 0, 4);
  const unsigned clique = 5;
  std::memcpy(info + 24, &clique, sizeof clique);
  const std::string state = from_environment("FAKE_FABRIC_STATE");
  info[28] = static_cast<unsigned char>(state.empty() ? 3 : std::stoi(state));
  return 0;
}

}  // extern "C"
