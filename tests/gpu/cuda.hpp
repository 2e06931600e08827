// The driver's functions that the checks on real GPUs call, found at run time: the program is built
// where there is no driver, and says so there.
#pragma once

#include <cuda.h>
#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace lockstep::test {

#define LOCKSTEP_CUDA_FUNCTIONS(each)                                                              \
  each(cuInit) each(cuDeviceGet) each(cuDeviceGetCount) each(cuDevicePrimaryCtxRetain)             \
      each(cuCtxSetCurrent) each(cuStreamCreate) each(cuStreamSynchronize) each(cuStreamQuery)     \
          each(cuStreamWriteValue32) each(cuStreamBeginCapture) each(cuStreamEndCapture)           \
              each(cuGraphDestroy) each(cuMemAlloc) each(cuMemsetD32Async) each(cuMemcpyDtoHAsync) \
                  each(cuMemHostRegister) each(cuMemHostGetDevicePointer) each(cuModuleLoadData)   \
                      each(cuModuleGetFunction) each(cuLaunchKernel)

// cuda.h renames functions by macros: the member's name goes through them as the symbol's does.
#define LOCKSTEP_CUDA_TEXT(name) #name
#define LOCKSTEP_CUDA_MEMBER(function) \
  decltype(&::function) function = find<decltype(&::function)>(LOCKSTEP_CUDA_TEXT(function));

/// All functions, or no driver.
class Cuda {
 public:
  static bool is_here() { return handle() != nullptr; }
  LOCKSTEP_CUDA_FUNCTIONS(LOCKSTEP_CUDA_MEMBER)

 private:
  static void* handle() {
    static void* const library = dlopen("libcuda.so.1", RTLD_NOW);
    return library;
  }
  template <class Function>
  static Function find(const char* name) {
    void* const symbol = dlsym(handle(), name);
    if (symbol == nullptr) throw std::runtime_error(std::string("the driver has no ") + name);
    return reinterpret_cast<Function>(symbol);
  }
};

inline void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  throw std::runtime_error(std::string(what) + ": CUDA error " + std::to_string(result));
}

}  // namespace lockstep::test
