// Verdicts: what one node decides is what every node reads, and no input can do harm.
// Method: pinned bytes, round trips, every truncation, every corruption of one byte, random noise.
#include "runtime/engine/verdict.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "runtime/node/page.hpp"

namespace lockstep::engine {
namespace {

using Bytes = std::vector<std::byte>;

RankSet every_other_rank(Rank count) {
  RankSet ranks;
  for (Rank i = 0; i < count; ++i) ranks.append(2 * i);
  return ranks;
}

Verdict example() {
  Verdict verdict;
  verdict.cause = LOCKSTEP_E_DEADLINE;
  verdict.epoch = 0x0102030405060708u;
  verdict.missing = RankSet(std::vector<RankRange>{{3, 2}, {9, 1}});
  verdict.text = "late";
  return verdict;
}

void expect_same(const Verdict& a, const Verdict& b) {
  EXPECT_EQ(a.cause, b.cause);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.missing.ranges(), b.missing.ranges());
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.is_truncated, b.is_truncated);
}

/// Whatever is accepted can be passed on and is then read alike.
void expect_consistent(const Bytes& bytes) {
  const auto verdict = decode_verdict(bytes);
  if (!verdict) return;
  EXPECT_TRUE(verdict->is_broken());
  const auto again = decode_verdict(encode_verdict(*verdict));
  ASSERT_TRUE(again.has_value());
  if (!again->is_truncated) expect_same(*again, *verdict);
}

TEST(Verdict, TheBytesArePinned) {
  const unsigned char pinned[] = {
      0xc4, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,  // cause, flags
      0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,  // epoch
      0x10, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00,  // bytes of ranges, bytes of text
      0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,  // ranks 3 and 4
      0x09, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,  // rank 9
      'l',  'a',  't',  'e'};
  const Bytes bytes = encode_verdict(example());
  ASSERT_EQ(bytes.size(), sizeof pinned);
  EXPECT_EQ(std::memcmp(bytes.data(), pinned, sizeof pinned), 0);
}

TEST(Verdict, WhatIsDecidedIsRead) {
  for (const auto cause : {LOCKSTEP_E_DEADLINE, LOCKSTEP_E_MISMATCH, LOCKSTEP_E_LOST}) {
    Verdict verdict = example();
    verdict.cause = cause;
    const auto read = decode_verdict(encode_verdict(verdict));
    ASSERT_TRUE(read.has_value());
    expect_same(*read, verdict);
  }
}

TEST(Verdict, OnlyTheThreeCausesAreVerdicts) {
  for (int code = -128; code < 128; ++code) {
    Bytes bytes = encode_verdict(example());
    const auto raw = static_cast<std::uint32_t>(code);
    for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<std::byte>(raw >> (8 * i));
    const bool is_cause =
        code == LOCKSTEP_E_DEADLINE || code == LOCKSTEP_E_MISMATCH || code == LOCKSTEP_E_LOST;
    EXPECT_EQ(decode_verdict(bytes).has_value(), is_cause) << code;
  }
}

TEST(Verdict, FitsItsRoomAndMarksRanksThatDoNot) {
  for (const Rank count : {0u, 1u, 69u, 70u, 71u, 500u, 5000u}) {
    SCOPED_TRACE(count);
    Verdict verdict = example();
    verdict.missing = every_other_rank(count);
    verdict.text = std::string(2000, 'x');
    const Bytes bytes = encode_verdict(verdict);
    EXPECT_LE(bytes.size(), kVerdictMax);
    const auto read = decode_verdict(bytes);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->is_truncated, read->missing.size() != count);
    EXPECT_EQ(read->missing.size(), std::min<std::uint64_t>(count, 70));
    EXPECT_FALSE(read->text.empty());
    EXPECT_EQ(verdict.text.compare(0, read->text.size(), read->text), 0);
  }
}

TEST(Verdict, ARoundTripKeepsTheMarkOfTruncation) {
  Verdict verdict = example();
  verdict.is_truncated = true;
  EXPECT_TRUE(decode_verdict(encode_verdict(verdict))->is_truncated);
}

TEST(Verdict, FitsAFrameAndTheNodesPage) {
  EXPECT_LE(kVerdictMax, std::size_t{LOCKSTEP_VECTOR_MAX});
  EXPECT_LE(kVerdictMax, node::kVerdictRoom);
}

TEST(Verdict, NoTruncationIsAccepted) {
  const Bytes whole = encode_verdict(example());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode_verdict(part).has_value()) << length;
  }
}

TEST(Verdict, EveryCorruptionOfOneByteIsRejectedOrConsistent) {
  const Bytes whole = encode_verdict(example());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      Bytes damaged = whole;
      damaged[at] = static_cast<std::byte>(value);
      expect_consistent(damaged);
    }
  }
}

TEST(Verdict, NoiseNeverDoesHarm) {
  std::mt19937_64 random(21);
  const Bytes head = encode_verdict(example());
  int accepted = 0;
  for (int input = 0; input < 300'000; ++input) {
    Bytes bytes(random() % 128);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    if (input % 2 == 0) {
      // Lengths that fit, and ranks that are small often enough to ascend.
      bytes.resize(std::max<std::size_t>(bytes.size(), 40));
      std::copy(head.begin(), head.begin() + 24, bytes.begin());
      bytes[20] = static_cast<std::byte>(bytes.size() - 40);
      for (std::size_t i = 25; i < 40; ++i) {
        if (i % 4 != 0) bytes[i] = std::byte{0};
      }
    }
    if (decode_verdict(bytes)) ++accepted;
    expect_consistent(bytes);
    if (testing::Test::HasFailure()) FAIL() << "input " << input << " of seed 21";
  }
  EXPECT_GT(accepted, 10'000) << "this test tests nothing";
}

TEST(Ranges, WhatIsUnsortedOverlapsOrIsEmptyIsRejected) {
  const auto coded = [](const std::vector<std::uint32_t>& numbers) {
    Bytes bytes;
    for (const std::uint32_t number : numbers) {
      for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<std::byte>(number >> (8 * i)));
    }
    return bytes;
  };
  EXPECT_TRUE(decode_ranges(coded({})).has_value());
  EXPECT_TRUE(decode_ranges(coded({1, 2, 3, 1})).has_value());
  EXPECT_FALSE(decode_ranges(coded({1, 0})).has_value()) << "empty";
  EXPECT_FALSE(decode_ranges(coded({5, 1, 3, 1})).has_value()) << "unsorted";
  EXPECT_FALSE(decode_ranges(coded({1, 3, 3, 1})).has_value()) << "overlapping";
  EXPECT_FALSE(decode_ranges(coded({UINT32_MAX, 2})).has_value()) << "beyond the largest rank";
  EXPECT_FALSE(decode_ranges(coded({1, 2, 3})).has_value()) << "half a range";
}

TEST(Ranges, AreCutAtTheirRoomAndTheCutIsMarked) {
  bool truncated = false;
  EXPECT_EQ(encode_ranges(every_other_rank(4), 32, truncated).size(), 32u);
  EXPECT_FALSE(truncated);
  EXPECT_EQ(encode_ranges(every_other_rank(5), 39, truncated).size(), 32u);
  EXPECT_TRUE(truncated);
}

}  // namespace
}  // namespace lockstep::engine
