// One folder, several members: exactly one name, read by all, and gone whoever is left.
#include "runtime/filesystem/probe.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/base/unique_fd.hpp"

namespace {

namespace fs = std::filesystem;
using lockstep::kSecond;
using lockstep::Rank;
using lockstep::UniqueFd;
using lockstep::filesystem::Probe;

class ProbeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lockstep-probe-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    place = UniqueFd(open(pattern.c_str(), O_PATH | O_DIRECTORY));
  }
  void TearDown() override { fs::remove_all(folder); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
  }
  /// A link as a probe makes it, of another time.
  void leave(const std::string& name, const std::string& target, time_t age) {
    fs::create_symlink(target, folder / name);
    const timespec then[2] = {{time(nullptr) - age, 0}, {time(nullptr) - age, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, (folder / name).c_str(), then, AT_SYMLINK_NOFOLLOW), 0);
  }
  fs::path folder;
  UniqueFd place;
};

TEST_F(ProbeTest, AllReadTheOneWhoMadeIt) {
  Probe a(place.get(), 7);
  Probe b(place.get(), 7);
  EXPECT_EQ(a.read(0), std::nullopt);
  EXPECT_TRUE(a.make(3).ok());
  EXPECT_TRUE(b.make(5).ok());
  EXPECT_EQ(a.read(0), Rank{3});
  EXPECT_EQ(b.read(0), Rank{3});
  EXPECT_EQ(entries(), 1u);
  a.remove();
  EXPECT_EQ(entries(), 0u);
}

TEST_F(ProbeTest, ExactlyOneOfManyAtOnceMakesIt) {
  constexpr Rank kMembers = 8;
  std::vector<std::optional<Rank>> found(kMembers);
  std::vector<std::unique_ptr<Probe>> probes;
  for (Rank i = 0; i < kMembers; ++i) probes.push_back(std::make_unique<Probe>(place.get(), 1));
  {
    std::vector<std::jthread> threads;
    for (Rank i = 0; i < kMembers; ++i) {
      threads.emplace_back([&, i] { EXPECT_TRUE(probes[i]->make(i).ok()); });
    }
  }
  for (Rank i = 0; i < kMembers; ++i) found[i] = probes[i]->read(0);
  ASSERT_TRUE(found[0].has_value());
  for (Rank i = 0; i < kMembers; ++i) EXPECT_EQ(found[i], found[0]);
}

TEST_F(ProbeTest, ProbesOfOthersAreNotItsOwn) {
  Probe mine(place.get(), 1);
  Probe other(place.get(), 2);
  EXPECT_TRUE(other.make(9).ok());
  EXPECT_EQ(mine.read(0), std::nullopt);
}

TEST_F(ProbeTest, WaitsForANameThatIsSeenLate) {
  Probe mine(place.get(), 1);
  std::optional<Rank> found;
  std::jthread reader([&] { found = mine.read(60 * kSecond); });
  Probe other(place.get(), 1);
  EXPECT_TRUE(other.make(4).ok());
  reader.join();
  EXPECT_EQ(found, Rank{4});
}

TEST_F(ProbeTest, WhoeverIsLeftRemovesTheName) {
  Probe killed(place.get(), 1);
  EXPECT_TRUE(killed.make(0).ok());
  {
    Probe done(place.get(), 1);
    done.finish();
  }
  EXPECT_EQ(entries(), 1u);
  { const Probe left(place.get(), 1); }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(ProbeTest, WhatKilledJobsHaveLeftGoesWithTheNext) {
  const std::string target = "lockstep was looking who sees this: member 3";
  leave(".lockstep-probe-00000000000000aa", target, 3600);
  leave(".lockstep-probe-00000000000000bb", target, 5);
  leave(".lockstep-probe-of-mine", "somewhere", 3600);
  std::ofstream(folder / ".lockstep-probe-file") << "x";
  Probe probe(place.get(), 1);
  EXPECT_TRUE(probe.make(0).ok());
  probe.remove();
  EXPECT_FALSE(fs::is_symlink(folder / ".lockstep-probe-00000000000000aa"));
  EXPECT_TRUE(fs::is_symlink(folder / ".lockstep-probe-00000000000000bb")) << "it may go on";
  EXPECT_TRUE(fs::is_symlink(folder / ".lockstep-probe-of-mine")) << "it is nobody's of ours";
  EXPECT_TRUE(fs::exists(folder / ".lockstep-probe-file"));
}

TEST_F(ProbeTest, AFolderThatHoldsNothingNewSaysWhy) {
  const UniqueFd proc(open("/proc", O_PATH | O_DIRECTORY));
  Probe probe(proc.get(), 1);
  const lockstep::Status made = probe.make(0);
  EXPECT_FALSE(made.ok());
  EXPECT_FALSE(made.text().empty());
  EXPECT_EQ(probe.read(0), std::nullopt);
}

}  // namespace
