// A GPU as the runtime knows it, and the text of its UUID. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lockstep/gpu.h"

namespace lockstep::gpu {

using Uuid = std::array<std::uint8_t, LOCKSTEP_GPU_UUID_BYTES>;

/// GPUs of several nodes reach each other if they have the same one.
struct Fabric {
  Uuid cluster{};  ///< all 0: in none
  std::uint32_t clique = 0;

  bool is_known() const noexcept { return cluster != Uuid{}; }
  friend auto operator<=>(const Fabric&, const Fabric&) = default;
};

struct Device {
  Uuid uuid{};
  bool is_instance = false;  ///< of MIG
  Fabric fabric;
  std::uint64_t memory = 0;  ///< bytes
  std::string address;       ///< on the PCI bus
  std::string name;
};

/// "GPU-01234567-89ab-cdef-0123-456789abcdef", or "MIG-..." of an instance: as nvidia-smi -L shows.
std::string uuid_text(const Uuid& uuid, bool is_instance);

struct NamedUuid {
  Uuid uuid;
  bool is_instance;
};
/// Of such a text, whole; letters of either case.
std::optional<NamedUuid> parse_uuid(std::string_view text);

}  // namespace lockstep::gpu
