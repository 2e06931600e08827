// Opens the GPU plugin and copies what it tells out of the C structs.
#include "runtime/gpu/driver.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "runtime/plugin/plugin_log.hpp"

namespace lockstep::gpu {
namespace {

Status unsupported(std::string text) {
  return {LOCKSTEP_E_UNSUPPORTED, std::move(text)};
}

/// Terminated whatever the plugin has done.
template <std::size_t Size>
std::string text_of(const char (&field)[Size]) {
  return {field, strnlen(field, Size)};
}

using Why = std::array<char, 512>;

std::string text_of(const Why& why) {
  return {why.data(), strnlen(why.data(), why.size())};
}

Device device_of(const lockstep_gpu_device_t& raw) {
  Device device;
  std::copy(std::begin(raw.uuid), std::end(raw.uuid), device.uuid.begin());
  std::copy(std::begin(raw.fabric), std::end(raw.fabric), device.fabric.cluster.begin());
  device.fabric.clique = device.fabric.is_known() ? raw.clique : 0;
  device.is_instance = raw.is_instance != 0;
  device.memory = raw.memory;
  device.address = text_of(raw.address);
  device.name = text_of(raw.name);
  return device;
}

}  // namespace

Result<std::unique_ptr<Driver>> Driver::open(const Config& config, const Who& who) {
  Result<std::unique_ptr<plugin::Plugin>> plugin = plugin::find(config.gpu_plugin, config);
  if (!plugin.ok()) return unsupported(plugin.status().text());
  const lockstep_gpu_t* const table = (*plugin)->gpu();
  if (table == nullptr) {
    return unsupported(
        fmt::format("{}: it knows nothing about GPUs; set LOCKSTEP_GPU_PLUGIN to one that does",
                    (*plugin)->path()));
  }
  lockstep_environment_t environment{};
  environment.size = sizeof environment;
  environment.rank = who.rank;
  environment.ranks = who.ranks;
  environment.interface = "";
  environment.log = plugin::log_for_plugin;
  Why why{};
  void* self = nullptr;
  if (table->open(&environment, &self, why.data(), why.size()) != LOCKSTEP_OK) {
    return unsupported(text_of(why));
  }
  std::unique_ptr<Driver> driver(new Driver(std::move(*plugin), self));
  if (driver->devices_.empty()) return unsupported("the GPU plugin tells of no GPU");
  return driver;
}

Driver::Driver(std::unique_ptr<plugin::Plugin> plugin, void* self)
    : plugin_(std::move(plugin)), table_(*plugin_->gpu()), self_(self) {
  const std::uint32_t count = table_.count(self_);
  for (std::uint32_t ordinal = 0; ordinal < count; ++ordinal) {
    lockstep_gpu_device_t raw{};
    raw.size = sizeof raw;
    if (table_.device(self_, ordinal, &raw) != LOCKSTEP_OK) break;
    devices_.push_back(device_of(raw));
  }
}

Driver::~Driver() {
  table_.close(self_);
}

std::optional<std::uint32_t> Driver::current() const {
  const std::int32_t ordinal = table_.current(self_);
  if (ordinal < 0) return std::nullopt;
  return static_cast<std::uint32_t>(ordinal);
}

lockstep_gpu_reach_t Driver::reaches(const Uuid& a, const Uuid& b) const {
  return table_.reaches(self_, a.data(), b.data());
}

Result<std::uint64_t> Driver::drain_start(std::span<void* const> streams) {
  Why why{};
  std::uint64_t ticket = 0;
  const lockstep_status_t status =
      table_.drain_start(self_, streams.data(), static_cast<std::uint32_t>(streams.size()), &ticket,
                         why.data(), why.size());
  if (status != LOCKSTEP_OK) return Status(status, text_of(why));
  return ticket;
}

Status Driver::drain_test(std::uint64_t ticket) {
  Why why{};
  const lockstep_status_t status = table_.drain_test(self_, ticket, why.data(), why.size());
  if (status == LOCKSTEP_OK) return {};
  if (status == LOCKSTEP_AGAIN) return Status::again();
  return {status, text_of(why)};
}

void Driver::drain_drop(std::uint64_t ticket) {
  table_.drain_drop(self_, ticket);
}

Result<std::unique_ptr<Barrier>> Driver::open_barrier(std::uint32_t ordinal,
                                                      const lockstep_gpu_barrier_setup_t& setup) {
  if (table_.barrier_open == nullptr) {
    return unsupported(fmt::format("{}: it has no stream barriers", plugin_->path()));
  }
  Why why{};
  void* self = nullptr;
  lockstep_gpu_barrier_view_t view{};
  view.size = sizeof view;
  const lockstep_status_t status =
      table_.barrier_open(self_, ordinal, &setup, &self, &view, why.data(), why.size());
  if (status != LOCKSTEP_OK) return Status(status, text_of(why));
  return std::make_unique<Barrier>(table_, self, view);
}

Status Barrier::connect(std::uint32_t member, const UniqueFd& memory) {
  Why why{};
  const lockstep_status_t status =
      table_.barrier_connect(self_, member, memory.get(), why.data(), why.size());
  return status == LOCKSTEP_OK ? Status() : Status(status, text_of(why));
}

Status Barrier::enqueue(void* stream, std::uint64_t limit_ns, bool reports, bool& is_captured) {
  Why why{};
  std::uint32_t captured = 0;
  const lockstep_status_t status = table_.barrier_enqueue(self_, stream, limit_ns, reports ? 1 : 0,
                                                          &captured, why.data(), why.size());
  is_captured = captured != 0;
  return status == LOCKSTEP_OK ? Status() : Status(status, text_of(why));
}

Result<Barrier::Last> Barrier::ask() {
  Why why{};
  Last last{};
  const lockstep_status_t status =
      table_.barrier_ask(self_, &last.number, &last.low, why.data(), why.size());
  if (status != LOCKSTEP_OK) return Status(status, text_of(why));
  return last;
}

std::string Driver::version() const {
  const char* const text = table_.driver(self_);
  return text != nullptr ? text : "";
}

}  // namespace lockstep::gpu
