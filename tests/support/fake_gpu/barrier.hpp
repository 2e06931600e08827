// A member's part of a stream barrier where host threads stand for kernels, and a memfd for the
// memory of a GPU that others map. As the real kernel does it, step by step.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lockstep/gpu.h"
#include "tests/support/fake_stream.hpp"

namespace lockstep::fake_gpu {

/// What others write to, one member's own memory. Each word has one writer.
struct Window {
  std::uint64_t cells[2][LOCKSTEP_GPU_PEERS_MAX];  ///< [number % 2][who writes there]
  std::uint64_t releases[2];                       ///< by member 0: those elsewhere have come, too
};

/// A Window that other processes can map.
class SharedWindow {
 public:
  /// A new one, or that of somebody else, whose descriptor is not kept. Throws std::system_error.
  SharedWindow();
  explicit SharedWindow(int descriptor);
  ~SharedWindow();
  SharedWindow(const SharedWindow&) = delete;
  SharedWindow& operator=(const SharedWindow&) = delete;

  Window& operator*() const noexcept { return *window_; }
  Window* operator->() const noexcept { return window_; }
  /// For the caller to close.
  int descriptor() const;

 private:
  int own_ = -1;
  Window* window_ = nullptr;
};

class Barrier {
 public:
  Barrier(const lockstep_gpu_barrier_setup_t& setup, std::uint32_t ordinal);
  ~Barrier() { drain(); }
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  lockstep_gpu_barrier_view_t view();
  lockstep_status_t connect(std::uint32_t member, int descriptor, std::string& why);
  /// Captured or not: it is the next one when it runs.
  lockstep_status_t enqueue(test::FakeStream& stream, std::uint64_t limit_ns, bool reports,
                            std::string& why);
  void ask(std::uint64_t& number, std::uint32_t& low);
  /// Until nothing of it is on any stream any more.
  void drain() const;

 private:
  struct Failure {
    lockstep_gpu_cause_t cause;
    std::uint64_t missing;
  };
  /// One barrier while a stream is at it.
  class Turn;

  void run(std::uint64_t limit_ns, bool reports);
  void succeed(const Turn& turn, bool reports);
  void fail(const Turn& turn, const Failure& failure);

  lockstep_gpu_barrier_setup_t setup_;
  std::uint32_t ordinal_;
  SharedWindow window_;
  std::vector<std::unique_ptr<SharedWindow>> others_;  ///< by member; this one's has none
  lockstep_gpu_line_t line_{};
  std::uint32_t raised_ = 0;  ///< these are memory of the GPU
  std::uint32_t agreed_ = 0;
  std::mutex mutex_;                      ///< of the next, with agreed_, as who asks sees them
  std::atomic<std::uint64_t> number_{0};  ///< of the last one that is over
  std::atomic<bool> has_failed_{false};
  std::atomic<std::uint64_t> on_streams_{0};
};

}  // namespace lockstep::fake_gpu
