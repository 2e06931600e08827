// What the suite of stream barriers needs of a GPU besides the plugin: streams, graphs, and kernels
// of one thread. One for each kind of driver; gpu_fake_device.cpp is that of the fake one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace lockstep::conformance {

/// A member's: its streams are of one GPU. What it enqueues returns at once, and may be captured.
class GpuDevice {
 public:
  virtual ~GpuDevice() = default;
  virtual void* make_stream() = 0;  ///< until the end of this
  /// A kernel that sets bits, as kernels raise triggers.
  virtual void raise(void* stream, std::uint32_t* raised, std::uint32_t bits) = 0;
  /// A kernel that copies what was agreed to where the host sees it, with bit 63 set.
  virtual void tell(void* stream, const std::uint32_t* agreed, std::uint64_t* seen) = 0;
  /// Work that ends once `may_end` is not 0. Host memory as that of make_word().
  virtual void hold(void* stream, std::uint64_t* may_end) = 0;
  /// A word that host and GPU share, 0 at first; until the end of this.
  virtual std::uint64_t* make_word() = 0;

  virtual void begin_capture(void* stream) = 0;
  /// Ends the capture. Calling what it returns launches the graph, any number of times.
  virtual std::function<void()> end_capture(void* stream) = 0;
  virtual void wait(void* stream) = 0;

  /// Writes nonsense to what others read when they connect to a barrier; this is its word. False:
  /// they read nothing.
  virtual bool damage(std::uint32_t* raised) = 0;
};

/// Of the GPU of that ordinal.
std::unique_ptr<GpuDevice> make_gpu_device(std::uint32_t ordinal);

}  // namespace lockstep::conformance
