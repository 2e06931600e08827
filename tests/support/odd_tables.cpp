// A plugin whose table is whatever ODD_TABLE says: as old ones are, as broken ones are.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "lockstep/gpu.h"

namespace {

constexpr std::uint32_t kOldSize = offsetof(lockstep_plugin_t, gpu);

lockstep_transport_t transport{};
lockstep_gpu_t gpu{};

/// What lies behind a short table is not the table's: whoever follows it is punished.
lockstep_plugin_t table_called(const std::string& name) {
  transport.size = sizeof transport;
  gpu.size = sizeof gpu;
  lockstep_plugin_t table{LOCKSTEP_PLUGIN_ABI,
                          sizeof(lockstep_plugin_t),
                          "odd_tables",
                          "1",
                          "for tests",
                          &transport,
                          nullptr,
                          nullptr};
  const auto* const nowhere = reinterpret_cast<const lockstep_gpu_t*>(8);
  if (name == "old") {
    table.size = kOldSize;
    table.gpu = nowhere;
  }
  if (name == "too_short") table.size = kOldSize - 1;
  if (name == "newer") table.size += 64;
  if (name == "gpu_only" || name == "short_gpu") {
    table.transport = nullptr;
    table.gpu = &gpu;
  }
  if (name == "short_gpu") gpu.size = sizeof gpu - 1;
  if (name == "both") table.gpu = &gpu;
  if (name == "nothing") table.transport = nullptr;
  if (name == "old_nothing") {
    table.size = kOldSize;
    table.transport = nullptr;
    table.gpu = nowhere;
  }
  return table;
}

}  // namespace

namespace odd_tables {

extern "C" __attribute__((visibility("default"))) const lockstep_plugin_t* lockstep_plugin() {
  static lockstep_plugin_t table;
  const char* const name = std::getenv("ODD_TABLE");
  table = table_called(name != nullptr ? name : "");
  return &table;
}

}  // namespace odd_tables
