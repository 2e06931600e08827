// What belongs to a GPU, or to NCCL, and has to be given back; and errors of both as exceptions.
#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace overflow {

inline void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}

inline void check(ncclResult_t result, const char* call) {
  if (result == ncclSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + ncclGetErrorString(result) +
                           "; NCCL_DEBUG=WARN says more");
}

/// Of the kernel launch before it.
inline void check_launch(const char* kernel) {
  check(cudaGetLastError(), kernel);
}

/// Memory of the GPU, zeros at first.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) : size_(size) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), bytes()), "cudaMalloc");
    const cudaError_t error = cudaMemset(data_, 0, bytes());
    if (error != cudaSuccess) cudaFree(data_);
    check(error, "cudaMemset");
  }
  explicit DeviceArray(std::span<const T> content) : DeviceArray(content.size()) {
    check(cudaMemcpy(data_, content.data(), bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const noexcept { return data_; }
  /// Behind what the stream has been given; the caller waits for the stream.
  void download(std::span<T> to, cudaStream_t stream) const {
    check(cudaMemcpyAsync(to.data(), data_, to.size_bytes(), cudaMemcpyDeviceToHost, stream),
          "cudaMemcpyAsync");
  }

 private:
  std::size_t bytes() const noexcept { return size_ * sizeof(T); }
  std::size_t size_;
  T* data_ = nullptr;
};

/// A word of the host's that kernels write to and the host reads without waiting for them.
class SharedWord {
 public:
  SharedWord() {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, sizeof *host_, cudaHostAllocMapped), "cudaHostAlloc");
    host_ = ::new (memory) std::uint64_t{0};
    void* device = nullptr;
    const cudaError_t error = cudaHostGetDevicePointer(&device, memory, 0);
    if (error != cudaSuccess) cudaFreeHost(memory);
    check(error, "cudaHostGetDevicePointer");
    device_ = static_cast<std::uint64_t*>(device);
  }
  ~SharedWord() { cudaFreeHost(host_); }
  SharedWord(const SharedWord&) = delete;
  SharedWord& operator=(const SharedWord&) = delete;

  std::uint64_t read() const { return *static_cast<const volatile std::uint64_t*>(host_); }
  std::uint64_t* on_device() const noexcept { return device_; }

 private:
  std::uint64_t* host_ = nullptr;
  std::uint64_t* device_ = nullptr;
};

class Stream {
 public:
  Stream() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const noexcept { return stream_; }
  void wait() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

/// NCCL's view of the job.
class Communicator {
 public:
  struct Place {
    int rank;
    int ranks;
  };
  /// Collective: returns when all ranks have come.
  Communicator(const ncclUniqueId& id, const Place& place) {
    check(ncclCommInitRank(&comm_, place.ranks, id, place.rank), "ncclCommInitRank");
  }
  /// Unless it is finished: what waits on the GPU for a rank that is lost must not wait for ever.
  ~Communicator() {
    if (comm_ != nullptr) ncclCommAbort(comm_);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  ncclComm_t get() const noexcept { return comm_; }
  /// Throws what has gone wrong since the last call, behind this thread's back.
  void check_health() const {
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    if (state != ncclInProgress) check(state, "ncclAllReduce");
  }
  /// Once the GPU has done all that it was given.
  void finish() { check(ncclCommDestroy(std::exchange(comm_, nullptr)), "ncclCommDestroy"); }

 private:
  ncclComm_t comm_ = nullptr;
};

}  // namespace overflow
