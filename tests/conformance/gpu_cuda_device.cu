// CUDA's side of the suite of stream barriers; ordinals beyond the last GPU are its first ones
// again.
#include <cuda_runtime.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "gpu_device.hpp"

namespace lockstep::conformance {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

__global__ void set_bits(std::uint32_t* raised, std::uint32_t bits) {
  atomicOr(raised, bits);
}

__global__ void copy_word(const std::uint32_t* agreed, std::uint64_t* seen) {
  const std::uint64_t word = *static_cast<const volatile std::uint32_t*>(agreed);
  *static_cast<volatile std::uint64_t*>(seen) = word | std::uint64_t{1} << 63;
}

__global__ void wait_for(const std::uint64_t* may_end) {
  while (*static_cast<const volatile std::uint64_t*>(may_end) == 0) {
  }
}

class CudaDevice : public GpuDevice {
 public:
  explicit CudaDevice(std::uint32_t ordinal) : ordinal_(static_cast<int>(ordinal)) { use(); }
  ~CudaDevice() override {
    cudaSetDevice(ordinal_);
    for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
    for (cudaGraphExec_t graph : graphs_) cudaGraphExecDestroy(graph);
    for (std::uint64_t* word : words_) cudaFreeHost(word);
  }

  void* make_stream() override {
    use();
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    streams_.push_back(stream);
    return stream;
  }
  void raise(void* stream, std::uint32_t* raised, std::uint32_t bits) override {
    use();
    set_bits<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(raised, bits);
    check(cudaGetLastError(), "launch");
  }
  void tell(void* stream, const std::uint32_t* agreed, std::uint64_t* seen) override {
    use();
    copy_word<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(agreed, seen);
    check(cudaGetLastError(), "launch");
  }
  void hold(void* stream, std::uint64_t* may_end) override {
    use();
    wait_for<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(may_end);
    check(cudaGetLastError(), "launch");
  }
  /// With unified addresses the GPU knows it by the same one.
  std::uint64_t* make_word() override {
    use();
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, sizeof(std::uint64_t), cudaHostAllocPortable), "cudaHostAlloc");
    words_.push_back(::new (memory) std::uint64_t{0});
    return words_.back();
  }

  void begin_capture(void* stream) override {
    use();
    check(cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeRelaxed),
          "begin a capture");
  }
  std::function<void()> end_capture(void* stream) override {
    use();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    check(cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph), "end a capture");
    check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    graphs_.push_back(ready);
    return [this, ready, stream] {
      use();
      check(cudaGraphLaunch(ready, static_cast<cudaStream_t>(stream)), "cudaGraphLaunch");
    };
  }
  void wait(void* stream) override {
    use();
    check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "cudaStreamSynchronize");
  }
  /// A barrier's memory begins at a multiple of CUDA's 2 MiB, and says where in it the words are.
  bool damage(std::uint32_t* raised) override {
    use();
    constexpr std::uintptr_t kMemory = std::uintptr_t{2} << 20;
    auto* const begin =
        reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(raised) & ~(kMemory - 1));
    check(cudaMemset(begin, 0xff, sizeof(std::uint64_t)), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return true;
  }

 private:
  void use() const { check(cudaSetDevice(ordinal_), "cudaSetDevice"); }

  int ordinal_;
  std::vector<cudaStream_t> streams_;
  std::vector<cudaGraphExec_t> graphs_;
  std::vector<std::uint64_t*> words_;
};

}  // namespace

std::unique_ptr<GpuDevice> make_gpu_device(std::uint32_t ordinal) {
  return std::make_unique<CudaDevice>(ordinal);
}

}  // namespace lockstep::conformance
