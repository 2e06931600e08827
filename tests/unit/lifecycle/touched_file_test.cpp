// What counts as a touch, and what does not.
#include "runtime/lifecycle/touched_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lockstep/lockstep.h"

namespace lockstep::lifecycle {
namespace {

class TouchedFileTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(mkdtemp(folder_.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  TouchedFile watched(const std::string& name) const {
    Result<TouchedFile> file = TouchedFile::at(path(name));
    EXPECT_TRUE(file.ok());
    return std::move(*file);
  }
  /// As if it had last been written to so many seconds after 1970.
  void write(const std::string& name, time_t when) const {
    std::ofstream(path(name)) << "x";
    const timespec times[] = {{when, 0}, {when, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, path(name).c_str(), times, 0), 0);
  }

 private:
  std::string folder_ = testing::TempDir() + "lockstep-touch-XXXXXX";
};

TEST_F(TouchedFileTest, AppearingAndChangingCountsOnceAndGoingDoesNot) {
  TouchedFile file = watched("f");
  EXPECT_FALSE(file.was_touched());
  write("f", 10);
  EXPECT_TRUE(file.was_touched());
  EXPECT_FALSE(file.was_touched());
  write("f", 9);
  EXPECT_TRUE(file.was_touched()) << "any other time is a change";
  std::remove(path("f").c_str());
  EXPECT_FALSE(file.was_touched());
  write("f", 9);
  EXPECT_TRUE(file.was_touched());
}

TEST_F(TouchedFileTest, WhatIsThereAtFirstDoesNotCount) {
  write("f", 10);
  TouchedFile file = watched("f");
  EXPECT_FALSE(file.was_touched());
  write("f", 11);
  EXPECT_TRUE(file.was_touched());
}

TEST_F(TouchedFileTest, AnotherFileInItsPlaceCounts) {
  write("f", 10);
  write("new", 10);
  TouchedFile file = watched("f");
  std::filesystem::rename(path("new"), path("f"));
  EXPECT_TRUE(file.was_touched());
}

/// Here a circle of links stands for a file server that does not answer.
TEST_F(TouchedFileTest, WhatCannotBeSeenForAWhileIsNotNewWhenItCanBeSeenAgain) {
  write("f", 10);
  std::filesystem::create_symlink("f", path("link"));
  TouchedFile file = watched("link");
  const auto point_to = [&](const char* target) {
    std::filesystem::remove(path("link"));
    std::filesystem::create_symlink(target, path("link"));
  };
  point_to("link");
  EXPECT_FALSE(file.was_touched());
  point_to("f");
  EXPECT_FALSE(file.was_touched());
  write("f", 11);
  EXPECT_TRUE(file.was_touched());
}

TEST_F(TouchedFileTest, APathThatNoFileCanHaveIsRefused) {
  EXPECT_TRUE(TouchedFile::at("").status().is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(TouchedFile::at(std::string(5'000, 'x')).status().is(LOCKSTEP_E_INVALID));
  EXPECT_EQ(watched("a\nb").shown().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace lockstep::lifecycle
