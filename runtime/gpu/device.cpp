// UUIDs to text and back: bytes in hexadecimal, in five groups.
#include "runtime/gpu/device.hpp"

#include <fmt/format.h>

namespace lockstep::gpu {
namespace {

constexpr std::string_view kDevice = "GPU-";
constexpr std::string_view kInstance = "MIG-";

/// Whether a hyphen stands before that byte.
bool begins_group(std::size_t byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

std::optional<std::uint8_t> digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

}  // namespace

std::string uuid_text(const Uuid& uuid, bool is_instance) {
  std::string text(is_instance ? kInstance : kDevice);
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (begins_group(i)) text += '-';
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

std::optional<NamedUuid> parse_uuid(std::string_view text) {
  NamedUuid named{};
  named.is_instance = text.starts_with(kInstance);
  if (!named.is_instance && !text.starts_with(kDevice)) return std::nullopt;
  text.remove_prefix(kDevice.size());
  for (std::size_t i = 0; i < named.uuid.size(); ++i) {
    if (begins_group(i)) {
      if (!text.starts_with('-')) return std::nullopt;
      text.remove_prefix(1);
    }
    if (text.size() < 2) return std::nullopt;
    const auto high = digit(text[0]);
    const auto low = digit(text[1]);
    if (!high || !low) return std::nullopt;
    named.uuid[i] = static_cast<std::uint8_t>(*high << 4 | *low);
    text.remove_prefix(2);
  }
  if (!text.empty()) return std::nullopt;
  return named;
}

}  // namespace lockstep::gpu
