// A member's part of a stream barrier: memory on its GPU that the others map, a line of the host's,
// and the kernel that meets theirs.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/gpu.h"
#include "plugins/cuda/barrier_layout.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/driver.hpp"
#include "plugins/cuda/locked_memory.hpp"

namespace lockstep::cuda {

/// What barriers find in the driver; older ones lack some of it and have everything else.
struct BarrierFunctions {
  lockstep_status_t find(const Library& library, std::string& why);

  decltype(cuDeviceGetAttribute)* attribute = nullptr;
  decltype(cuDevicePrimaryCtxRetain)* retain_primary = nullptr;
  decltype(cuDevicePrimaryCtxRelease)* release_primary = nullptr;
  decltype(cuCtxSynchronize)* synchronize = nullptr;
  decltype(cuModuleLoadData)* load_module = nullptr;
  decltype(cuModuleUnload)* unload_module = nullptr;
  decltype(cuModuleGetFunction)* function = nullptr;
  decltype(cuLaunchKernel)* launch = nullptr;
  decltype(cuStreamCreate)* create_stream = nullptr;
  decltype(cuStreamDestroy)* destroy_stream = nullptr;
  decltype(cuStreamSynchronize)* synchronize_stream = nullptr;
  decltype(cuStreamIsCapturing)* is_capturing = nullptr;
  decltype(cuMemsetD8Async)* set_memory = nullptr;
  decltype(cuMemcpyHtoDAsync)* copy_to_gpu = nullptr;
  decltype(cuMemcpyDtoHAsync)* copy_to_host = nullptr;
  decltype(cuMemGetAllocationGranularity)* granularity = nullptr;
  decltype(cuMemCreate)* create = nullptr;
  decltype(cuMemRelease)* release = nullptr;
  decltype(cuMemAddressReserve)* reserve = nullptr;
  decltype(cuMemAddressFree)* unreserve = nullptr;
  decltype(cuMemMap)* map = nullptr;
  decltype(cuMemUnmap)* unmap = nullptr;
  decltype(cuMemSetAccess)* set_access = nullptr;
  decltype(cuMemExportToShareableHandle)* export_handle = nullptr;
  decltype(cuMemImportFromShareableHandle)* import_handle = nullptr;
  LockedMemory::Functions locked;
};

class Barrier {
 public:
  /// What all of a process use.
  struct Around {
    const Driver& driver;
    const Contexts& contexts;
    const BarrierFunctions& cuda;
  };
  explicit Barrier(const Around& around) : around_(around) {}
  ~Barrier();
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  /// See lockstep_gpu_t::barrier_open, barrier_connect, and so on.
  lockstep_status_t open(std::uint32_t ordinal, const lockstep_gpu_barrier_setup_t& setup,
                         lockstep_gpu_barrier_view_t& view, std::string& why);
  bool has_peer(std::uint32_t member) const noexcept {
    return member < arguments_.members && member != arguments_.self;
  }
  lockstep_status_t connect(std::uint32_t member, int memory, std::string& why);
  lockstep_status_t enqueue(CUstream stream, std::uint64_t limit_ns, bool reports,
                            bool& is_captured, std::string& why);
  lockstep_status_t ask(std::uint64_t& number, std::uint32_t& low, std::string& why);
  void drain() noexcept;

 private:
  /// Memory of a GPU, this one's or another's, at an address of this one.
  struct Mapping {
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr address = 0;
    bool is_mapped = false;
  };

  lockstep_status_t enter_context(std::uint32_t ordinal, std::string& why);
  lockstep_status_t check_device(std::string& why) const;
  lockstep_status_t make_window(std::string& why);
  lockstep_status_t load_kernels(std::string& why);
  lockstep_status_t place_window(std::string& why);
  lockstep_status_t warm_up(std::string& why);
  CUresult map(Mapping& mapping) const;
  CUresult ask_offset(const Mapping& mapping, std::uint64_t& offset);
  CUresult tell_gpu(std::uint32_t member, CUdeviceptr window);
  CUresult launch(CUstream stream, CUfunction kernel, void** parameters) const;
  CUresult launch(CUstream stream, BarrierArguments arguments) const;
  lockstep_status_t fail(const char* what, CUresult result, std::string& why) const;

  Around around_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  bool has_retained_ = false;
  CUmodule module_ = nullptr;
  CUfunction kernel_ = nullptr;
  CUfunction place_kernel_ = nullptr;
  std::size_t bytes_ = 0;          ///< of each member's memory
  CUstream own_stream_ = nullptr;  ///< for what is asked and told beside the barriers
  /// The line, and room for answers.
  struct Page {
    lockstep_gpu_line_t line;
    BarrierState state;
    BarrierHeader header;
  };
  LockedMemory page_;
  bool is_drained_ = false;
  std::vector<Mapping> mappings_;  ///< by member
  BarrierArguments arguments_{};
};

}  // namespace lockstep::cuda
