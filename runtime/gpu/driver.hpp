// The GPUs that this process sees, as the GPU plugin tells them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/config/config.hpp"
#include "runtime/gpu/device.hpp"
#include "runtime/plugin/registry.hpp"

namespace lockstep::gpu {

/// A member's part of a stream barrier, as the plugin has made it. One thread at a time, the
/// driver's other calls included; `line()` any.
class Barrier {
 public:
  Barrier(const lockstep_gpu_t& table, void* self, const lockstep_gpu_barrier_view_t& view)
      : table_(table), self_(self), view_(view), memory_(view.memory) {}
  ~Barrier() { table_.barrier_close(self_); }
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  /// See lockstep_gpu_t::barrier_connect, and so on.
  Status connect(std::uint32_t member, const UniqueFd& memory);
  Status enqueue(void* stream, std::uint64_t limit_ns, bool reports, bool& is_captured);
  struct Last {
    std::uint64_t number;
    std::uint32_t low;
  };
  Result<Last> ask();
  void drain() { table_.barrier_drain(self_); }

  lockstep_gpu_line_t& line() const noexcept { return *view_.line; }
  const lockstep_gpu_barrier_view_t& view() const noexcept { return view_; }
  /// What the others open; empty: there is nobody else.
  const UniqueFd& memory() const noexcept { return memory_; }

 private:
  const lockstep_gpu_t& table_;
  void* self_;
  lockstep_gpu_barrier_view_t view_;
  UniqueFd memory_;
};

/// An opened GPU plugin. One thread at a time.
class Driver {
 public:
  struct Who {
    Rank rank = 0;
    std::uint32_t ranks = 1;
  };
  /// LOCKSTEP_E_UNSUPPORTED, with what to do: no plugin, no driver, or no GPU for this process.
  /// Starts the driver, which may take a second, and makes no context.
  static Result<std::unique_ptr<Driver>> open(const Config& config, const Who& who);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// By ordinal; at least one.
  const std::vector<Device>& devices() const noexcept { return devices_; }
  /// The ordinal of the calling thread's current context's.
  std::optional<std::uint32_t> current() const;
  lockstep_gpu_reach_t reaches(const Uuid& a, const Uuid& b) const;
  /// See lockstep_gpu_t::drain_start.
  Result<std::uint64_t> drain_start(std::span<void* const> streams);
  Status drain_test(std::uint64_t ticket);
  void drain_drop(std::uint64_t ticket);
  /// See lockstep_gpu_t::barrier_open. LOCKSTEP_E_UNSUPPORTED also: the plugin is an older one.
  Result<std::unique_ptr<Barrier>> open_barrier(std::uint32_t ordinal,
                                                const lockstep_gpu_barrier_setup_t& setup);
  std::string version() const;
  const plugin::Plugin& plugin() const noexcept { return *plugin_; }

 private:
  Driver(std::unique_ptr<plugin::Plugin> plugin, void* self);

  std::unique_ptr<plugin::Plugin> plugin_;
  const lockstep_gpu_t& table_;
  void* self_;
  std::vector<Device> devices_;
};

}  // namespace lockstep::gpu
