// Addresses as Slurm's plugins write them, paths as people type them, and the tiers they span.
#include "runtime/topology/switches.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lockstep::topology {
namespace {

std::string slurm(const char* address, const char* pattern) {
  const auto path = read_slurm_address(address, pattern);
  return path ? "(" + path_text(*path) + ")" : "none";
}

TEST(SlurmAddress, IsReadByItsPattern) {
  EXPECT_EQ(slurm("core.s1.n3", "switch.switch.node"), "(core.s1)");
  EXPECT_EQ(slurm("block7.n3", "block.node"), "(block7)");
  EXPECT_EQ(slurm("n3", "node"), "()") << "a flat network";
}

TEST(SlurmAddress, MayEndInANodeWithDots) {
  EXPECT_EQ(slurm("core.s1.n3.example.org", "switch.switch.node"), "(core.s1)");
  EXPECT_EQ(slurm("n3.example.org", "node"), "()");
}

// Where several trees are joined by nothing, the level above them is there without a name.
TEST(SlurmAddress, MayBeginWithoutAName) {
  EXPECT_EQ(slurm(".ib-core.tors-4.n3", "switch.switch.switch.node"), "(ib-core.tors-4)");
}

TEST(SlurmAddress, MayNameSeveralSwitchesOfALevel) {
  EXPECT_EQ(slurm("core.s[1,3-4].n3", "switch.switch.node"), "(core.s[1,3-4])");
  EXPECT_EQ(slurm("core.s[1.2].n3", "switch.switch.node"), "(core.s[1.2])");
}

TEST(SlurmAddress, OnARingIsTheRing) {
  EXPECT_EQ(slurm("ring0:3.n3", "ring:position.node"), "(ring0)");
}

TEST(SlurmAddress, ThatDoesNotFitIsNone) {
  EXPECT_EQ(slurm("s1.n3", "switch.switch.node"), "none");
  EXPECT_EQ(slurm("core.s1.n3", "switch.switch"), "none");
  EXPECT_EQ(slurm("", ""), "none");
  EXPECT_EQ(slurm("core.s1.n3", ""), "none");
  EXPECT_EQ(read_slurm_address(std::string(5'000, 'a'), "node"), std::nullopt);
  std::string deep = "node";
  std::string address = "n0";
  for (std::size_t i = 0; i < kSwitchesMax; ++i) {
    deep = "switch." + deep;
    address = "s." + address;
  }
  EXPECT_EQ(read_slurm_address(address, deep), std::nullopt);
}

TEST(SlurmAddress, NoNoiseDoesHarm) {
  std::mt19937 random(3);
  const std::string letters = "ab.:[]-,n";
  for (int run = 0; run < 20'000; ++run) {
    std::string address;
    std::string pattern;
    for (auto i = random() % 20; i > 0; --i) address += letters[random() % letters.size()];
    for (auto i = random() % 4; i > 0; --i) pattern += random() % 5 == 0 ? "." : "switch.";
    pattern += "node";
    const auto path = read_slurm_address(address, pattern);
    if (!path) continue;
    for (const std::string& name : *path) EXPECT_FALSE(name.empty());
  }
}

TEST(Path, IsReadAsItIsWritten) {
  for (const char* const text : {"", "s0", "core.s0", "a.b.c", "core.s[1.2]"}) {
    const auto path = read_path(text);
    ASSERT_TRUE(path) << text;
    EXPECT_EQ(path_text(*path), text);
  }
  for (const char* const text : {".", "a.", ".a", "a..b"}) EXPECT_FALSE(read_path(text)) << text;
  EXPECT_FALSE(read_path(std::string(kSwitchTextMax + 1, 'a')));
  EXPECT_FALSE(read_path("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17"));
}

TEST(Tiers, AreTheSameForNodesBelowTheSameSwitches) {
  const Tiers tiers({{"core", "s0"}, {"core", "s1"}, {"core", "s0"}, {"other", "s0"}});
  EXPECT_EQ(tiers.depth(), 2u);
  EXPECT_EQ(tiers.leaves(), 3u);
  EXPECT_EQ(tiers.tier(0, 0), tiers.tier(3, 0)) << "one job";
  EXPECT_EQ(tiers.tier(0, 1), tiers.tier(1, 1));
  EXPECT_NE(tiers.tier(0, 1), tiers.tier(3, 1));
  EXPECT_EQ(tiers.tier(0, 2), tiers.tier(2, 2));
  EXPECT_NE(tiers.tier(0, 2), tiers.tier(1, 2));
  EXPECT_NE(tiers.tier(0, 2), tiers.tier(3, 2)) << "s0 of another core is another switch";
}

TEST(Tiers, AreOneWhereNothingIsKnown) {
  const Tiers tiers({{}, {}, {}});
  EXPECT_EQ(tiers.depth(), 0u);
  EXPECT_EQ(tiers.leaves(), 1u);
  EXPECT_EQ(tiers.tier(2, 0), tiers.tier(0, 0));
}

TEST(Tiers, OfANodeWithoutSwitchesAreItsOwn) {
  const Tiers tiers({{"s0"}, {}, {"s0"}, {}});
  EXPECT_EQ(tiers.leaves(), 3u);
  EXPECT_EQ(tiers.tier(0, 1), tiers.tier(2, 1));
  EXPECT_NE(tiers.tier(1, 1), tiers.tier(3, 1));
}

TEST(Synthetic, MultipliesItsLevels) {
  const auto paths = synthetic("switch:2 switch:3 node:4");
  ASSERT_TRUE(paths);
  ASSERT_EQ(paths->size(), 24u);
  EXPECT_EQ(path_text(paths->front()), "s0.s0");
  EXPECT_EQ(path_text(paths->back()), "s1.s2");
  EXPECT_EQ(synthetic("node:3")->size(), 3u);
}

TEST(Synthetic, NonsenseIsRefused) {
  for (const char* const text :
       {"", "switch:4", "node", "node:", "node:0", "node:-1", "node:4x", "node:4 switch:2",
        "rack:4 node:2", "switch:2  node:2", "node:1000001", "switch:99999 switch:99999 node:9"}) {
    EXPECT_FALSE(synthetic(text)) << text;
  }
}

}  // namespace
}  // namespace lockstep::topology
