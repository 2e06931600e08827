// Frames: every byte has its place, and no input can do harm.
// Method: pinned bytes, round trips, every truncation, every corruption of one byte, random noise.
#include "runtime/engine/frame.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

namespace lockstep::engine {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

Bytes encoded(const Frame& frame) {
  std::array<std::byte, kHeaderSize + kPayloadMax> room;
  const std::size_t length = encode(frame, room);
  return {room.begin(), room.begin() + static_cast<std::ptrdiff_t>(length)};
}

Frame example(const Bytes& payload) {
  Frame frame;
  frame.type = FrameType::answer;
  frame.session = 0x1122334455667788u;
  frame.group = 0x99aabbccddeeff00u;
  frame.epoch = 0x0102030405060708u;
  frame.word = 0x8877665544332211u;
  frame.sender = 0xa1a2a3a4u;
  frame.signature = 0xb1b2b3b4u;
  frame.step = 0xc1c2u;
  frame.flags = 0xd1d2u;
  frame.site = 0xe1e2e3e4u;
  frame.payload = payload;
  return frame;
}

void expect_same(const Frame& a, const Frame& b) {
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.session, b.session);
  EXPECT_EQ(a.group, b.group);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.word, b.word);
  EXPECT_EQ(a.sender, b.sender);
  EXPECT_EQ(a.signature, b.signature);
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.flags, b.flags);
  EXPECT_EQ(a.site, b.site);
  EXPECT_TRUE(std::equal(a.payload.begin(), a.payload.end(), b.payload.begin(), b.payload.end()));
}

/// What decode() accepts must be exactly what encode() would write, code for code.
void expect_consistent(const Bytes& bytes) {
  const auto frame = decode(bytes);
  if (!frame) return;
  Bytes again = encoded(*frame);
  ASSERT_EQ(again.size(), bytes.size());
  // The place of the authentication code is written as zero and not looked at yet.
  std::copy(bytes.begin() + 56, bytes.begin() + 64, again.begin() + 56);
  EXPECT_EQ(again, bytes);
}

TEST(Frame, TheBytesOnTheWireArePinned) {
  // Changing this array means a new kFrameVersion: nodes with the old one would misread the new.
  const Bytes payload = bytes_of("abc");
  const std::array<unsigned char, kHeaderSize + 3> pinned = {
      'L',  'K',  'S',  'T',  0x01, 0x03, 0x43, 0x00,  // magic, version, type, length
      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  // session
      0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99,  // group
      0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,  // epoch
      0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,  // word
      0xa4, 0xa3, 0xa2, 0xa1, 0xb4, 0xb3, 0xb2, 0xb1,  // sender, signature
      0xc2, 0xc1, 0xd2, 0xd1, 0xe4, 0xe3, 0xe2, 0xe1,  // step, flags, site
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // message authentication code
      'a',  'b',  'c'};
  const Bytes written = encoded(example(payload));
  ASSERT_EQ(written.size(), pinned.size());
  EXPECT_EQ(std::memcmp(written.data(), pinned.data(), pinned.size()), 0);
  EXPECT_EQ(static_cast<int>(FrameType::fact), 1);
  EXPECT_EQ(static_cast<int>(FrameType::ask), 2);
  EXPECT_EQ(static_cast<int>(FrameType::answer), 3);
  EXPECT_EQ(static_cast<int>(FrameType::resume), 4);
  EXPECT_EQ(static_cast<int>(FrameType::broken), 5);
  EXPECT_EQ(static_cast<int>(FrameType::outcome), 6);
  EXPECT_EQ(static_cast<int>(kAnswerComplete), 1);
  EXPECT_EQ(static_cast<int>(kTruncated), 2);
}

TEST(Frame, WhatIsWrittenIsRead) {
  for (std::size_t length = 0; length <= kPayloadMax; ++length) {
    Bytes payload(length);
    for (std::size_t i = 0; i < length; ++i) payload[i] = static_cast<std::byte>(i * 31 + length);
    const Frame frame = example(payload);
    const Bytes bytes = encoded(frame);
    ASSERT_EQ(bytes.size(), kHeaderSize + length);
    const auto read = decode(bytes);
    ASSERT_TRUE(read.has_value());
    expect_same(*read, frame);
  }
}

TEST(Frame, EveryTypeIsReadAndNoOther) {
  const Bytes payload;
  for (int type = 0; type < 256; ++type) {
    Bytes bytes = encoded(example(payload));
    bytes[5] = static_cast<std::byte>(type);
    EXPECT_EQ(decode(bytes).has_value(), type >= 1 && type <= kFrameTypeLast) << type;
  }
}

TEST(Frame, NoTruncationIsAccepted) {
  const Bytes payload = bytes_of("some payload");
  const Bytes whole = encoded(example(payload));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    // A copy of exactly this length, so that a sanitizer sees any byte read behind it.
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode(part).has_value()) << length;
  }
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode(longer).has_value());
}

TEST(Frame, EveryCorruptionOfOneByteIsRejectedOrConsistent) {
  const Bytes payload = bytes_of("payload");
  const Bytes whole = encoded(example(payload));
  for (std::size_t at = 0; at < kHeaderSize; ++at) {
    for (int value = 0; value < 256; ++value) {
      Bytes damaged = whole;
      damaged[at] = static_cast<std::byte>(value);
      if (damaged == whole) continue;
      if (at < 5 || at == 6 || at == 7) {
        EXPECT_FALSE(decode(damaged).has_value()) << "magic, version or length, byte " << at;
      }
      expect_consistent(damaged);
    }
  }
}

TEST(Frame, NoiseNeverDoesHarm) {
  constexpr int kInputs = 1'000'000;
  std::mt19937_64 random(20);
  Bytes head = encoded(example({}));
  int accepted = 0;
  for (int input = 0; input < kInputs; ++input) {
    Bytes bytes(random() % 200);
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      const std::uint64_t noise = random();
      std::memcpy(bytes.data() + i, &noise, std::min<std::size_t>(8, bytes.size() - i));
    }
    if (input % 2 == 0 && bytes.size() >= kHeaderSize) {
      // Pure noise dies at the magic number: half of the inputs get that far and further.
      std::copy(head.begin(), head.begin() + 6, bytes.begin());
      bytes[6] = static_cast<std::byte>(bytes.size());
      bytes[7] = std::byte{0};
    }
    if (decode(bytes)) ++accepted;
    expect_consistent(bytes);
    if (testing::Test::HasFailure()) FAIL() << "input " << input << " of seed 20";
  }
  EXPECT_GT(accepted, kInputs / 10) << "this test tests nothing";
}

TEST(Frame, AFullFrameFitsTheTransport) {
  EXPECT_EQ(kHeaderSize, 64u);
  EXPECT_LE(kHeaderSize + kPayloadMax, std::size_t{LOCKSTEP_FRAME_MAX});
}

}  // namespace
}  // namespace lockstep::engine
