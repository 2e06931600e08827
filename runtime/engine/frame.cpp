// Byte-by-byte coding of frames: the same on every machine, no allocation, no trust in the input.
#include "runtime/engine/frame.hpp"

#include <cassert>
#include <cstring>

namespace lockstep::engine {
namespace {

/// Offsets of the header's fields, in bytes.
enum : std::size_t {
  kAtMagic = 0,
  kAtVersion = 4,
  kAtType = 5,
  kAtLength = 6,
  kAtSession = 8,
  kAtGroup = 16,
  kAtEpoch = 24,
  kAtWord = 32,
  kAtSender = 40,
  kAtSignature = 44,
  kAtStep = 48,
  kAtFlags = 50,
  kAtSite = 52,
  kAtMac = 56
};

template <class T>
void put(std::span<std::byte> room, std::size_t at, T value) noexcept {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    room[at + i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

template <class T>
T take(std::span<const std::byte> bytes, std::size_t at) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
  }
  return static_cast<T>(value);
}

}  // namespace

std::size_t encode(const Frame& frame, std::span<std::byte> room) noexcept {
  const std::size_t length = kHeaderSize + frame.payload.size();
  assert(frame.payload.size() <= kPayloadMax && room.size() >= length);
  put(room, kAtMagic, kFrameMagic);
  put(room, kAtVersion, kFrameVersion);
  put(room, kAtType, static_cast<std::uint8_t>(frame.type));
  put(room, kAtLength, static_cast<std::uint16_t>(length));
  put(room, kAtSession, frame.session);
  put(room, kAtGroup, frame.group);
  put(room, kAtEpoch, frame.epoch);
  put(room, kAtWord, frame.word);
  put(room, kAtSender, frame.sender);
  put(room, kAtSignature, frame.signature);
  put(room, kAtStep, frame.step);
  put(room, kAtFlags, frame.flags);
  put(room, kAtSite, frame.site);
  put(room, kAtMac, std::uint64_t{0});
  if (!frame.payload.empty()) {
    std::memcpy(room.data() + kHeaderSize, frame.payload.data(), frame.payload.size());
  }
  return length;
}

std::optional<Frame> decode(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kHeaderSize || bytes.size() > kHeaderSize + kPayloadMax) return std::nullopt;
  if (take<std::uint32_t>(bytes, kAtMagic) != kFrameMagic) return std::nullopt;
  if (take<std::uint8_t>(bytes, kAtVersion) != kFrameVersion) return std::nullopt;
  if (take<std::uint16_t>(bytes, kAtLength) != bytes.size()) return std::nullopt;
  const auto type = take<std::uint8_t>(bytes, kAtType);
  if (type == 0 || type > kFrameTypeLast) return std::nullopt;
  Frame frame;
  frame.type = static_cast<FrameType>(type);
  frame.session = take<std::uint64_t>(bytes, kAtSession);
  frame.group = take<GroupId>(bytes, kAtGroup);
  frame.epoch = take<Epoch>(bytes, kAtEpoch);
  frame.word = take<std::uint64_t>(bytes, kAtWord);
  frame.sender = take<Rank>(bytes, kAtSender);
  frame.signature = take<std::uint32_t>(bytes, kAtSignature);
  frame.step = take<std::uint16_t>(bytes, kAtStep);
  frame.flags = take<std::uint16_t>(bytes, kAtFlags);
  frame.site = take<std::uint32_t>(bytes, kAtSite);
  frame.payload = bytes.subspan(kHeaderSize);
  return frame;
}

}  // namespace lockstep::engine
