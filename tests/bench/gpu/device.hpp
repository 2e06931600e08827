// A stream, a pair of events and a graph of the CUDA runtime, with errors as exceptions and a limit
// to every wait.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

namespace lockstep::bench::gpu {

/// The longest that a round of any measurement may take on the GPU.
inline constexpr std::chrono::seconds kGpuLimit{10};

inline void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "stream"); }
  ~Stream() { cudaStreamDestroy(handle_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t handle() const noexcept { return handle_; }

 private:
  cudaStream_t handle_ = nullptr;
};

/// The GPU's time between two points of a stream.
class Timer {
 public:
  Timer() {
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Microseconds that the stream needs for what `enqueue` gives it. Waits for them, not forever: a
  /// kernel that waits for a rank which has failed never ends.
  template <class F>
  double us(cudaStream_t stream, F&& enqueue) {
    check(cudaEventRecord(begin_, stream), "cudaEventRecord");
    std::forward<F>(enqueue)();
    check(cudaEventRecord(end_, stream), "cudaEventRecord");
    wait();
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin_, end_), "cudaEventElapsedTime");
    return 1'000.0 * static_cast<double>(ms);
  }

 private:
  void wait() {
    const auto until = std::chrono::steady_clock::now() + kGpuLimit;
    for (;;) {
      const cudaError_t state = cudaEventQuery(end_);
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) check(state, "the stream's work");
      if (std::chrono::steady_clock::now() > until) {
        throw std::runtime_error("the GPU has not done its work in " +
                                 std::to_string(kGpuLimit.count()) + " s");
      }
    }
  }

  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

/// What `enqueue` gives to the stream, as a CUDA graph.
class Graph {
 public:
  Graph(cudaStream_t stream, const std::function<void()>& enqueue) {
    // Other threads of this process, NCCL's and lockstep's, are not to break the capture.
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin a capture");
    cudaGraph_t graph = nullptr;
    try {
      enqueue();
    } catch (...) {
      if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) cudaGraphDestroy(graph);
      static_cast<void>(cudaGetLastError());
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "end a capture");
    const cudaError_t made = cudaGraphInstantiate(&handle_, graph, 0);
    cudaGraphDestroy(graph);
    check(made, "cudaGraphInstantiate");
    const cudaError_t uploaded = cudaGraphUpload(handle_, stream);
    if (uploaded != cudaSuccess) cudaGraphExecDestroy(handle_);
    check(uploaded, "cudaGraphUpload");
  }
  ~Graph() {
    if (handle_ != nullptr) cudaGraphExecDestroy(handle_);
  }
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(cudaStream_t stream) const { check(cudaGraphLaunch(handle_, stream), "launch"); }

 private:
  cudaGraphExec_t handle_ = nullptr;
};

}  // namespace lockstep::bench::gpu
