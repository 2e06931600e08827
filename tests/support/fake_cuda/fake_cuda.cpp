// A libcuda without GPUs, for tests of the real plugin: has what the plugin calls, and no more, so
// that nothing that makes a context can be called. Its devices are letters:
//   FAKE_CUDA        those that this process sees, in their order, e.g. AB; small ones are MIG
//   instances FAKE_PEERS       pairs of which the first reaches the second, e.g. "AB BA"
//   FAKE_CUDA_INIT   what cuInit returns, a number
//   FAKE_CONTEXT     the letter of the device that the current context is on
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

std::string from_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Not the ordinal: whoever takes one for the other is found out.
CUdevice number_of(char letter) {
  return static_cast<CUdevice>(letter) * 10;
}

char letter_of(CUdevice device) {
  return static_cast<char>(device / 10);
}

bool is_instance(CUdevice device) {
  return letter_of(device) >= 'a';
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuInit(unsigned) {
  const std::string code = from_environment("FAKE_CUDA_INIT");
  if (!code.empty()) return static_cast<CUresult>(std::stoi(code));
  return from_environment("FAKE_CUDA").empty() ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

CUresult CUDAAPI cuGetErrorString(CUresult result, const char** text) {
  *text = result == CUDA_ERROR_SYSTEM_NOT_READY ? "system not yet initialized" : nullptr;
  return *text != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  *version = 12040;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
  *count = static_cast<int>(from_environment("FAKE_CUDA").size());
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
  *device = number_of(from_environment("FAKE_CUDA").at(static_cast<std::size_t>(ordinal)));
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  for (char& byte : uuid->bytes) byte = letter_of(device);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetName(char* name, int length, CUdevice device) {
  std::snprintf(name, static_cast<std::size_t>(length), "Fake %c%s", letter_of(device),
                is_instance(device) ? " MIG 1g.10gb" : "");
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceTotalMem(std::size_t* bytes, CUdevice) {
  *bytes = std::size_t{80} << 30;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetPCIBusId(char* address, int length, CUdevice device) {
  std::snprintf(address, static_cast<std::size_t>(length), "0000:%02X:00.0",
                static_cast<unsigned>(letter_of(device)));
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceCanAccessPeer(int* can, CUdevice device, CUdevice peer) {
  const std::string pair = {letter_of(device), letter_of(peer)};
  *can = from_environment("FAKE_PEERS").find(pair) != std::string::npos ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice* device) {
  const std::string letter = from_environment("FAKE_CONTEXT");
  if (letter.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *device = number_of(letter.front());
  return CUDA_SUCCESS;
}

}  // extern "C"
