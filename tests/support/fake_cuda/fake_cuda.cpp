// A libcuda without GPUs, for tests of the real plugin: has what the plugin calls, and no more, so
// that nothing that makes a context can be called. Streams are tests/support/fake_stream.hpp. Its
// devices are letters:
//   FAKE_CUDA        those that this process sees, in their order: AB; small ones: MIG instances
//   FAKE_PEERS       pairs of which the first reaches the second, e.g. "AB BA"
//   FAKE_CUDA_INIT   what cuInit returns, a number
//   FAKE_CONTEXT     the letter of the device that the current context is on
//   FAKE_NO_WORDS    streams cannot write words (write), or memory cannot be page-locked (lock)
#include <cuda.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "tests/support/fake_stream.hpp"

namespace {

using lockstep::test::FakeStream;

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

FakeStream* of(CUstream stream) {
  return reinterpret_cast<FakeStream*>(stream);
}

/// All streams are of one context, which is nobody's current one until it is made so.
CUcontext the_context() {
  return reinterpret_cast<CUcontext>(16);
}
thread_local CUcontext current = nullptr;
thread_local CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

[[noreturn]] void complain(const char* what) {
  std::fprintf(stderr, "fake_cuda: %s\n", what);
  std::abort();
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

CUresult CUDAAPI cuCtxGetCurrent(CUcontext* context) {
  *context = current;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
  if (current != nullptr) complain("contexts are stacked for nothing");
  current = context;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext* context) {
  if (current == nullptr) complain("a context is taken away that was not given");
  *context = current;
  current = nullptr;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetId(CUcontext, unsigned long long* id) {
  *id = 7;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* exchanged) {
  std::swap(*exchanged, mode);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostRegister(void*, std::size_t, unsigned flags) {
  if (current != the_context()) return CUDA_ERROR_INVALID_CONTEXT;
  if (mode != CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (from_environment("FAKE_NO_WORDS") == "lock") return CUDA_ERROR_NOT_SUPPORTED;
  return (flags & CU_MEMHOSTREGISTER_DEVICEMAP) != 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuMemHostUnregister(void*) {
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr* address, void* memory, unsigned) {
  *address = reinterpret_cast<CUdeviceptr>(memory);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  const bool is_captured = stream != nullptr && of(stream)->is_captured;
  *status = is_captured ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamGetCtx(CUstream, CUcontext* context) {
  *context = the_context();
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamQuery(CUstream stream) {
  if (stream == nullptr) return CUDA_SUCCESS;
  if (of(stream)->is_captured) of(stream)->is_capture_broken = true;
  if (of(stream)->is_busy) return CUDA_ERROR_NOT_READY;
  return of(stream)->has_failed ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

/// After all that the stream has to do, and not at all if that fails.
CUresult CUDAAPI cuStreamWriteValue32(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                      unsigned) {
  if (current != the_context()) return CUDA_ERROR_INVALID_CONTEXT;
  if (from_environment("FAKE_NO_WORDS") == "write") return CUDA_ERROR_NOT_SUPPORTED;
  std::thread([busy = of(stream), address, value] {
    while (busy->is_busy) std::this_thread::yield();
    if (busy->has_failed) return;
    std::atomic_ref(*reinterpret_cast<cuuint32_t*>(address)).store(value);
  }).detach();
  return CUDA_SUCCESS;
}

}  // extern "C"
