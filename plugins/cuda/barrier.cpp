// The memory is CUDA's shareable kind: as long as somebody has it mapped it is there, also when the
// process that made it has been killed.
#include "plugins/cuda/barrier.hpp"

#include <fcntl.h>

#include <new>

#include "plugins/cuda/barrier_image.hpp"
#include "plugins/cuda/find.hpp"

namespace lockstep::cuda {
namespace {

constexpr CUmemAllocationHandleType kHandle = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

CUmemAllocationProp properties_on(CUdevice device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.requestedHandleTypes = kHandle;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  return properties;
}

bool is_place(std::uint64_t offset) {
  return offset % kBarrierPlace == 0 && offset >= kBarrierPlace &&
         offset <= kBarrierPlaces * kBarrierPlace;
}

}  // namespace

lockstep_status_t BarrierFunctions::find(const Library& library, std::string& why) {
  LOCKSTEP_FIND(library, cuDeviceGetAttribute, attribute)
  LOCKSTEP_FIND(library, cuDevicePrimaryCtxRetain, retain_primary)
  LOCKSTEP_FIND(library, cuDevicePrimaryCtxRelease, release_primary)
  LOCKSTEP_FIND(library, cuCtxSynchronize, synchronize)
  LOCKSTEP_FIND(library, cuModuleLoadData, load_module)
  LOCKSTEP_FIND(library, cuModuleUnload, unload_module)
  LOCKSTEP_FIND(library, cuModuleGetFunction, function)
  LOCKSTEP_FIND(library, cuLaunchKernel, launch)
  LOCKSTEP_FIND(library, cuStreamCreate, create_stream)
  LOCKSTEP_FIND(library, cuStreamDestroy, destroy_stream)
  LOCKSTEP_FIND(library, cuStreamSynchronize, synchronize_stream)
  LOCKSTEP_FIND(library, cuStreamIsCapturing, is_capturing)
  LOCKSTEP_FIND(library, cuMemsetD8Async, set_memory)
  LOCKSTEP_FIND(library, cuMemcpyHtoDAsync, copy_to_gpu)
  LOCKSTEP_FIND(library, cuMemcpyDtoHAsync, copy_to_host)
  LOCKSTEP_FIND(library, cuMemGetAllocationGranularity, granularity)
  LOCKSTEP_FIND(library, cuMemCreate, create)
  LOCKSTEP_FIND(library, cuMemRelease, release)
  LOCKSTEP_FIND(library, cuMemAddressReserve, reserve)
  LOCKSTEP_FIND(library, cuMemAddressFree, unreserve)
  LOCKSTEP_FIND(library, cuMemMap, map)
  LOCKSTEP_FIND(library, cuMemUnmap, unmap)
  LOCKSTEP_FIND(library, cuMemSetAccess, set_access)
  LOCKSTEP_FIND(library, cuMemExportToShareableHandle, export_handle)
  LOCKSTEP_FIND(library, cuMemImportFromShareableHandle, import_handle)
  return locked.find(library, why);
}

lockstep_status_t Barrier::fail(const char* what, CUresult result, std::string& why) const {
  why = std::string(what) + ": " + around_.driver.text_of(result);
  return LOCKSTEP_E_RESOURCE;
}

lockstep_status_t Barrier::enter_context(std::uint32_t ordinal, std::string& why) {
  device_ = around_.driver.device(ordinal);
  context_ = around_.contexts.current();
  if (context_ != nullptr) {
    const auto current = around_.driver.current();
    if (current == ordinal) return LOCKSTEP_OK;
    why = "the thread's current context is on GPU " +
          (current ? std::to_string(*current) : std::string("?")) + ", but this rank's is GPU " +
          std::to_string(ordinal) +
          ": call cudaSetDevice before the first call about GPUs, or set "
          "LOCKSTEP_GPU";
    return LOCKSTEP_E_STATE;
  }
  const CUresult result = around_.cuda.retain_primary(&context_, device_);
  if (result != CUDA_SUCCESS) return fail("no context on the GPU", result, why);
  has_retained_ = true;
  return LOCKSTEP_OK;
}

lockstep_status_t Barrier::check_device(std::string& why) const {
  for (const auto attribute : {CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
                               CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED}) {
    int has = 0;
    const CUresult result = around_.cuda.attribute(&has, attribute, device_);
    if (result == CUDA_SUCCESS && has != 0) continue;
    why = "this GPU shares no memory by descriptors";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  return LOCKSTEP_OK;
}

lockstep_status_t Barrier::load_kernels(std::string& why) {
  if (kBarrierImage == nullptr) {
    why = "the plugin was built without nvcc, so that it has no kernel; build it where nvcc is";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  CUresult result = around_.cuda.load_module(&module_, kBarrierImage);
  if (result == CUDA_ERROR_NO_BINARY_FOR_GPU) {
    why = "the plugin has no kernel for so old a GPU";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  if (result == CUDA_SUCCESS) result = around_.cuda.function(&kernel_, module_, kBarrierKernel);
  if (result == CUDA_SUCCESS) result = around_.cuda.function(&place_kernel_, module_, kPlaceKernel);
  return result == CUDA_SUCCESS ? LOCKSTEP_OK : fail("cannot load the kernels", result, why);
}

CUresult Barrier::map(Mapping& mapping) const {
  const BarrierFunctions& cuda = around_.cuda;
  CUresult result = cuda.reserve(&mapping.address, bytes_, 0, 0, 0);
  if (result != CUDA_SUCCESS) return result;
  result = cuda.map(mapping.address, bytes_, 0, mapping.handle, 0);
  if (result != CUDA_SUCCESS) return result;
  mapping.is_mapped = true;
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = device_;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return cuda.set_access(mapping.address, bytes_, &access, 1);
}

lockstep_status_t Barrier::make_window(std::string& why) {
  const BarrierFunctions& cuda = around_.cuda;
  const CUmemAllocationProp properties = properties_on(device_);
  std::size_t granularity = 0;
  CUresult result = cuda.granularity(&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
  if (result != CUDA_SUCCESS) return fail("no memory on the GPU", result, why);
  constexpr std::size_t kNeeded = (1 + kBarrierPlaces) * kBarrierPlace;
  bytes_ = (kNeeded + granularity - 1) / granularity * granularity;
  Mapping& own = mappings_[arguments_.self];
  result = cuda.create(&own.handle, bytes_, &properties, 0);
  if (result == CUDA_SUCCESS) result = map(own);
  if (result == CUDA_SUCCESS) result = cuda.create_stream(&own_stream_, CU_STREAM_NON_BLOCKING);
  if (result != CUDA_SUCCESS) return fail("no memory on the GPU", result, why);
  page_ = LockedMemory(cuda.locked, sizeof(Page), result);
  if (result != CUDA_SUCCESS) return fail("cannot page-lock memory of the host", result, why);
  ::new (page_.host()) Page{};
  arguments_.line = &reinterpret_cast<Page*>(page_.device())->line;
  return LOCKSTEP_OK;
}

/// All becomes zero but the header: the GPU measures where in its memory a window is best.
lockstep_status_t Barrier::place_window(std::string& why) {
  const BarrierFunctions& cuda = around_.cuda;
  CUdeviceptr memory = mappings_[arguments_.self].address;
  void* parameters[] = {&memory};
  std::uint64_t offset = 0;
  CUresult result = cuda.set_memory(memory, 0, bytes_, own_stream_);
  if (result == CUDA_SUCCESS) result = launch(own_stream_, place_kernel_, parameters);
  if (result == CUDA_SUCCESS) result = ask_offset(mappings_[arguments_.self], offset);
  if (result != CUDA_SUCCESS) return fail("cannot measure the GPU's memory", result, why);
  arguments_.own = reinterpret_cast<BarrierWindow*>(memory + offset);
  return LOCKSTEP_OK;
}

/// A first run of the kernel alone: a driver that loads it late would do so within a capture. Then
/// the window is zero.
lockstep_status_t Barrier::warm_up(std::string& why) {
  const BarrierFunctions& cuda = around_.cuda;
  const auto window = reinterpret_cast<CUdeviceptr>(arguments_.own);
  BarrierArguments alone = arguments_;
  alone.members = 0;
  alone.is_carried = 0;
  CUresult result = launch(own_stream_, alone);
  if (result == CUDA_SUCCESS) {
    result = cuda.set_memory(window, 0, sizeof(BarrierWindow), own_stream_);
  }
  if (result == CUDA_SUCCESS) result = cuda.synchronize_stream(own_stream_);
  return result == CUDA_SUCCESS ? LOCKSTEP_OK : fail("the kernel does not run", result, why);
}

lockstep_status_t Barrier::open(std::uint32_t ordinal, const lockstep_gpu_barrier_setup_t& setup,
                                lockstep_gpu_barrier_view_t& view, std::string& why) {
  lockstep_status_t status = enter_context(ordinal, why);
  if (status != LOCKSTEP_OK) return status;
  const Contexts::Inside inside(around_.contexts, context_);
  const Contexts::Undisturbed undisturbed(around_.contexts);
  arguments_.self = setup.member;
  arguments_.members = setup.members;
  arguments_.is_carried = setup.is_carried != 0 ? 1 : 0;
  mappings_.resize(setup.members);
  status = check_device(why);
  if (status == LOCKSTEP_OK) status = load_kernels(why);
  if (status == LOCKSTEP_OK) status = make_window(why);
  if (status == LOCKSTEP_OK) status = place_window(why);
  if (status == LOCKSTEP_OK) status = warm_up(why);
  if (status != LOCKSTEP_OK) return status;
  view.memory = -1;
  if (setup.members > 1) {
    const CUresult result =
        around_.cuda.export_handle(&view.memory, mappings_[setup.member].handle, kHandle, 0);
    if (result != CUDA_SUCCESS) return fail("the GPU's memory is not shared", result, why);
    (void)fcntl(view.memory, F_SETFD, FD_CLOEXEC);
  }
  view.line = &static_cast<Page*>(page_.host())->line;
  view.raised = &arguments_.own->raised;
  view.agreed = &arguments_.own->state.agreed;
  return LOCKSTEP_OK;
}

/// Where in its memory a member's window lies.
CUresult Barrier::ask_offset(const Mapping& mapping, std::uint64_t& offset) {
  BarrierHeader& header = static_cast<Page*>(page_.host())->header;
  const BarrierFunctions& cuda = around_.cuda;
  CUresult result = cuda.copy_to_host(&header, mapping.address, sizeof header, own_stream_);
  if (result == CUDA_SUCCESS) result = cuda.synchronize_stream(own_stream_);
  offset = header.offset;
  return result;
}

/// The table of peers lies on the GPU.
CUresult Barrier::tell_gpu(std::uint32_t member, CUdeviceptr window) {
  const auto place = reinterpret_cast<CUdeviceptr>(&arguments_.own->peers[member]);
  static_assert(sizeof window == sizeof arguments_.own);
  const CUresult result = around_.cuda.copy_to_gpu(place, &window, sizeof window, own_stream_);
  return result == CUDA_SUCCESS ? around_.cuda.synchronize_stream(own_stream_) : result;
}

lockstep_status_t Barrier::connect(std::uint32_t member, int memory, std::string& why) {
  const Contexts::Inside inside(around_.contexts, context_);
  const Contexts::Undisturbed undisturbed(around_.contexts);
  Mapping& other = mappings_[member];
  // NOLINTNEXTLINE(performance-no-int-to-ptr): so CUDA wants a descriptor
  void* const descriptor = reinterpret_cast<void*>(static_cast<std::intptr_t>(memory));
  CUresult result = around_.cuda.import_handle(&other.handle, descriptor, kHandle);
  if (result == CUDA_SUCCESS) result = map(other);
  std::uint64_t offset = 0;
  if (result == CUDA_SUCCESS) result = ask_offset(other, offset);
  if (result == CUDA_SUCCESS && !is_place(offset)) {
    why = "another GPU's memory is laid out otherwise; are all ranks' plugins the same?";
    return LOCKSTEP_E_UNSUPPORTED;
  }
  if (result == CUDA_SUCCESS) result = tell_gpu(member, other.address + offset);
  if (result == CUDA_SUCCESS) return LOCKSTEP_OK;
  (void)fail("another GPU's memory cannot be reached", result, why);
  return LOCKSTEP_E_UNSUPPORTED;
}

CUresult Barrier::launch(CUstream stream, CUfunction kernel, void** parameters) const {
  return around_.cuda.launch(kernel, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr);
}

CUresult Barrier::launch(CUstream stream, BarrierArguments arguments) const {
  void* parameters[] = {&arguments};
  return launch(stream, kernel_, parameters);
}

lockstep_status_t Barrier::enqueue(CUstream stream, std::uint64_t limit_ns, bool reports,
                                   bool& is_captured, std::string& why) {
  const Contexts::Inside inside(around_.contexts, context_);
  BarrierArguments arguments = arguments_;
  arguments.limit_ns = limit_ns;
  arguments.reports = reports ? 1 : 0;
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  CUresult result = around_.cuda.is_capturing(stream, &capture);
  CUcontext context = nullptr;
  if (result == CUDA_SUCCESS) result = around_.contexts.of(stream, context);
  if (result == CUDA_SUCCESS && context != context_) result = CUDA_ERROR_INVALID_CONTEXT;
  if (result == CUDA_SUCCESS) result = launch(stream, arguments);
  is_captured = capture == CU_STREAM_CAPTURE_STATUS_ACTIVE;
  if (result == CUDA_SUCCESS) return LOCKSTEP_OK;
  if (result == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT ||
      capture == CU_STREAM_CAPTURE_STATUS_INVALIDATED) {
    why =
        "another stream is being captured, which this one would be drawn into, or the stream's "
        "own capture is broken";
    return LOCKSTEP_E_STATE;
  }
  (void)fail("cannot enqueue on this stream", result, why);
  if (is_no_stream(result)) why += "; is it one of this rank's GPU?";
  return is_no_stream(result) ? LOCKSTEP_E_INVALID : LOCKSTEP_E_RESOURCE;
}

lockstep_status_t Barrier::ask(std::uint64_t& number, std::uint32_t& low, std::string& why) {
  const Contexts::Inside inside(around_.contexts, context_);
  const Contexts::Undisturbed undisturbed(around_.contexts);
  BarrierState& state = static_cast<Page*>(page_.host())->state;
  const auto place = reinterpret_cast<CUdeviceptr>(&arguments_.own->state);
  CUresult result = around_.cuda.copy_to_host(&state, place, sizeof state, own_stream_);
  if (result == CUDA_SUCCESS) result = around_.cuda.synchronize_stream(own_stream_);
  if (result != CUDA_SUCCESS) return fail("the GPU has failed", result, why);
  number = state.number;
  low = state.agreed;
  return LOCKSTEP_OK;
}

void Barrier::drain() noexcept {
  const Contexts::Inside inside(around_.contexts, context_);
  const Contexts::Undisturbed undisturbed(around_.contexts);
  is_drained_ = around_.cuda.synchronize() == CUDA_SUCCESS;
}

Barrier::~Barrier() {
  if (context_ == nullptr) return;
  const BarrierFunctions& cuda = around_.cuda;
  {
    const Contexts::Inside inside(around_.contexts, context_);
    const Contexts::Undisturbed undisturbed(around_.contexts);
    // Where a kernel may still be under way (it could not be waited for: a capture, or a GPU that
    // has failed) its memory stays as long as the process.
    if (!is_drained_) drain();
    if (!is_drained_) {
      page_.abandon();
      return;
    }
    for (const Mapping& mapping : mappings_) {
      if (mapping.is_mapped) (void)cuda.unmap(mapping.address, bytes_);
      if (mapping.address != 0) (void)cuda.unreserve(mapping.address, bytes_);
      if (mapping.handle != 0) (void)cuda.release(mapping.handle);
    }
    page_ = LockedMemory();
    if (own_stream_ != nullptr) (void)cuda.destroy_stream(own_stream_);
    if (module_ != nullptr) (void)cuda.unload_module(module_);
  }
  if (has_retained_) (void)cuda.release_primary(device_);
}

}  // namespace lockstep::cuda
