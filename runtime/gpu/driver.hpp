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
#include "runtime/config/config.hpp"
#include "runtime/gpu/device.hpp"
#include "runtime/plugin/registry.hpp"

namespace lockstep::gpu {

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
