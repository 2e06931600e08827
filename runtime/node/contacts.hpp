// Addresses of processes as one list of bytes: how they lie in the page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace lockstep::node {

using Address = std::vector<std::byte>;

/// Each address with its length in four bytes in front.
inline std::vector<std::byte> encode_contacts(std::span<const Address> addresses) {
  std::vector<std::byte> bytes;
  for (const Address& address : addresses) {
    const auto length = static_cast<std::uint32_t>(address.size());
    const auto head = std::as_bytes(std::span(&length, 1));
    bytes.insert(bytes.end(), head.begin(), head.end());
    bytes.insert(bytes.end(), address.begin(), address.end());
  }
  return bytes;
}

/// Nothing if the bytes are no such list.
inline std::optional<std::vector<Address>> decode_contacts(std::span<const std::byte> bytes) {
  std::vector<Address> addresses;
  while (!bytes.empty()) {
    std::uint32_t length = 0;
    if (bytes.size() < sizeof length) return std::nullopt;
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes = bytes.subspan(sizeof length);
    if (bytes.size() < length) return std::nullopt;
    addresses.emplace_back(bytes.begin(), bytes.begin() + length);
    bytes = bytes.subspan(length);
  }
  return addresses;
}

}  // namespace lockstep::node
