// A manifest says the same after a round trip, and nothing that is not one passes for one.
#include "runtime/saving/manifest.hpp"

#include <gtest/gtest.h>

#include <random>

#include "runtime/saving/retention.hpp"
#include "runtime/saving/step_folder.hpp"

namespace lockstep::saving {
namespace {

Manifest sample(std::mt19937_64& random) {
  Manifest manifest{random() >> (random() % 64), "2026-11-26T15:00:00Z", {}};
  const auto ranks = static_cast<std::uint32_t>(1 + random() % 70);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    manifest.parts.push_back({part_name(rank, static_cast<std::uint32_t>(random())),
                              {random() >> (random() % 64), random(), random()}});
  }
  return manifest;
}

TEST(Manifest, SaysTheSameAfterARoundTrip) {
  std::mt19937_64 random(11);
  for (int turn = 0; turn < 200; ++turn) {
    const Manifest manifest = sample(random);
    const Result<Manifest> read = parse_manifest(manifest_text(manifest));
    ASSERT_TRUE(read.ok()) << read.status().text();
    EXPECT_EQ(read.value(), manifest) << turn;
  }
}

TEST(Manifest, RandomBytesAreRefusedWithAReason) {
  std::mt19937_64 random(12);
  for (int turn = 0; turn < 10'000; ++turn) {
    std::string text(random() % 300, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const Result<Manifest> read = parse_manifest(text);
    ASSERT_FALSE(read.ok()) << turn;
    EXPECT_TRUE(read.status().text().starts_with("the manifest ")) << turn;
  }
}

// Whatever a damaged one is taken for, it can be written and read again, has a part for each rank,
// and no part of it is outside its folder.
TEST(Manifest, DamagedOnesAreRefusedOrHarmless) {
  std::mt19937_64 random(13);
  std::size_t refused = 0;
  constexpr int kTurns = 5000;
  for (int turn = 0; turn < kTurns; ++turn) {
    std::string text = manifest_text(sample(random));
    const auto damages = 1 + random() % 4;
    for (std::size_t i = 0; i < damages; ++i) {
      const std::size_t at = random() % text.size();
      const auto kind = random() % 3;
      if (kind == 0) text[at] = static_cast<char>(random());
      if (kind == 1) text.erase(at, 1 + random() % 20);
      if (kind == 2) text.insert(at, text.substr(random() % text.size(), random() % 20));
      if (text.empty()) break;
    }
    const Result<Manifest> read = parse_manifest(text);
    if (!read.ok()) {
      ++refused;
      continue;
    }
    ASSERT_FALSE(read->parts.empty());
    for (const PartEntry& part : read->parts) {
      EXPECT_TRUE(is_part_name(part.name));
      EXPECT_EQ(part.name.find('/'), std::string::npos);
    }
  }
  EXPECT_GT(refused, kTurns / 2u);
}

TEST(Manifest, EverythingInItIsChecked) {
  std::mt19937_64 random(14);
  Manifest two = sample(random);
  two.parts = {{part_name(0, 1), {5, 1, 2}}, {part_name(1, 1), {6, 3, 4}}};
  two.step = 7;
  const std::string good = manifest_text(two);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return parse_manifest(text).ok();
  };
  EXPECT_TRUE(with("\"saved\"", "\"saved\""));
  EXPECT_FALSE(with("lockstep checkpoint", "something else"));
  EXPECT_FALSE(with("\"version\": 1", "\"version\": 2"));
  EXPECT_FALSE(with("\"step\": 7", "\"step\": -7"));
  EXPECT_FALSE(with("\"step\": 7", "\"step\": \"7\""));
  EXPECT_FALSE(with("\"ranks\": 2", "\"ranks\": 3"));
  EXPECT_FALSE(with("\"size\": 5", "\"size\": 5.5"));
  EXPECT_FALSE(with("part-00000-00000001", "../../etc/passwd"));
  EXPECT_FALSE(with("part-00000-00000001", "part-00001-00000001"));
  EXPECT_FALSE(with("\"xxh3_128\": \"0", "\"xxh3_128\": \"g"));
  EXPECT_FALSE(with("\"xxh3_128\": \"0", "\"xxh3_128\": \""));
}

TEST(Manifest, DeepNestingIsNoWayToBreakIt) {
  EXPECT_FALSE(parse_manifest(std::string(1'000'000, '[')).ok());
}

TEST(Digest, IsTheCanonicalXxh3AndTheSameInPieces) {
  EXPECT_EQ(hex(digest_of("")), "99aa06d3014798d86001c324468d497f");
  std::mt19937_64 random(15);
  for (int turn = 0; turn < 200; ++turn) {
    std::string bytes(random() % 5000, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    Hasher hasher;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t length = std::min<std::size_t>(1 + random() % 900, bytes.size() - at);
      hasher.add(bytes.data() + at, length);
      at += length;
    }
    const Digest whole = digest_of(bytes);
    EXPECT_EQ(hasher.digest(), whole);
    Digest back{bytes.size(), 0, 0};
    ASSERT_TRUE(parse_hex(hex(whole), back));
    EXPECT_EQ(back, whole);
    if (bytes.empty()) continue;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << (random() % 8));
    EXPECT_NE(digest_of(bytes), whole) << "a flipped bit must be seen";
  }
}

TEST(StepName, IsReadBackAndNothingElseIs) {
  for (const std::uint64_t step : {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{99'999'999},
                                   std::uint64_t{123'456'789'012}, UINT64_MAX}) {
    EXPECT_EQ(parse_step_name(step_name(step)), step);
  }
  EXPECT_EQ(step_name(100), "step-00000100");
  for (const char* name : {"step-", "step-100", "step-0000010x", "step--0000100", "step- 0000100",
                           "tmp-00000100", "step-99999999999999999999", "step-00000100/"}) {
    EXPECT_EQ(parse_step_name(name), std::nullopt) << name;
  }
}

// The definition, word by word, against the arithmetic.
TEST(Retention, KeepsTheLastAndEveryMthAndTheNewest) {
  std::mt19937_64 random(16);
  for (int turn = 0; turn < 5000; ++turn) {
    std::vector<std::uint64_t> steps;
    const auto count = random() % 20;
    for (std::size_t i = 0; i < count; ++i) steps.push_back(random() % 60);
    const std::uint64_t newest = random() % 60;
    steps.push_back(newest);
    const Retention wish{random() % 6, random() % 5};
    const std::vector<std::uint64_t> gone = surplus(steps, newest, wish);
    EXPECT_TRUE(std::is_sorted(gone.begin(), gone.end()));
    std::sort(steps.begin(), steps.end());
    steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
    for (const std::uint64_t step : steps) {
      const auto higher = static_cast<std::uint64_t>(
          steps.end() - std::upper_bound(steps.begin(), steps.end(), step));
      const bool is_kept = wish.last == 0 || step == newest || higher < wish.last ||
                           (wish.every != 0 && step % wish.every == 0);
      EXPECT_EQ(std::find(gone.begin(), gone.end(), step) == gone.end(), is_kept)
          << "step " << step << " of " << steps.size() << ", turn " << turn;
    }
  }
}

}  // namespace
}  // namespace lockstep::saving
