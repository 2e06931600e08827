// Looks at real folders: what is there, what is not, and what leads elsewhere.
#include "runtime/filesystem/place.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lockstep/error.h"

namespace {

namespace fs = std::filesystem;
using lockstep::Result;
using lockstep::filesystem::look_at;
using lockstep::filesystem::Place;

class PlaceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::canonical(testing::TempDir()) / "lockstep-place-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
  }
  void TearDown() override { fs::remove_all(folder); }
  Place at(const std::string& path) {
    Result<Place> place = look_at(path);
    EXPECT_TRUE(place.ok()) << (place.ok() ? "" : place.status().text());
    return place.ok() ? std::move(*place) : Place{};
  }
  fs::path folder;
};

TEST_F(PlaceTest, IsTheNearestFolderThatIsThere) {
  EXPECT_EQ(at(folder).path, folder);
  EXPECT_EQ(at(folder).facts.missing, 0u);
  EXPECT_EQ(at(folder / "a").path, folder);
  EXPECT_EQ(at(folder / "a").facts.missing, 1u);
  EXPECT_EQ(at(folder.string() + "///a//b/c//").facts.missing, 3u);
  EXPECT_EQ(at(folder.string() + "///").facts, at(folder).facts);
  EXPECT_EQ(at("/").path, "/");
  EXPECT_EQ(at("//").path, "/");
  EXPECT_EQ(at("/not-there-at-all").path, "/");
}

TEST_F(PlaceTest, RelativePathsBeginWhereTheProcessIs) {
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  EXPECT_EQ(at(".").path, folder);
  EXPECT_EQ(at("a/b").path, folder);
  EXPECT_EQ(at("a/b").facts.missing, 2u);
  EXPECT_EQ(at("..").path, folder.parent_path());
  fs::current_path(before);
}

TEST_F(PlaceTest, AFileIsLikeOneThatIsNotWrittenYet) {
  const auto before = at(folder / "file").facts;
  std::ofstream(folder / "file") << "x";
  EXPECT_EQ(at(folder / "file").facts, before);
  EXPECT_EQ(at(folder / "file").path, folder);
}

TEST_F(PlaceTest, LinksLeadToTheirFolder) {
  fs::create_directory(folder / "real");
  fs::create_directory_symlink("real", folder / "link");
  EXPECT_EQ(at(folder / "link").path, folder / "real");
  EXPECT_EQ(at(folder / "link").facts, at(folder / "real").facts);
  EXPECT_EQ(at(folder / "link" / "new").path, folder / "real");
  EXPECT_NE(at(folder / "link").facts, at(folder).facts);
}

TEST_F(PlaceTest, ALinkToNothingIsAnError) {
  fs::create_directory_symlink("nowhere", folder / "link");
  for (const fs::path& path : {folder / "link", folder / "link" / "new"}) {
    const Result<Place> place = look_at(path);
    ASSERT_FALSE(place.ok()) << path;
    EXPECT_EQ(place.status().code(), LOCKSTEP_E_IO);
    EXPECT_NE(place.status().text().find("link to something that is not there"), std::string::npos)
        << place.status().text();
  }
  fs::create_symlink("self", folder / "self");
  EXPECT_FALSE(look_at(folder / "self").ok());
}

TEST_F(PlaceTest, FoldersOfOneMountHaveItInCommonAndNothingElse) {
  fs::create_directory(folder / "a");
  fs::create_directory(folder / "b");
  const Place a = at(folder / "a");
  const Place b = at(folder / "b");
  EXPECT_EQ(a.facts.mount, b.facts.mount);
  EXPECT_NE(a.facts.folder, b.facts.folder);
  EXPECT_NE(a.facts.likeness, b.facts.likeness);
  EXPECT_NE(a.facts.mount, at("/proc").facts.mount);
  EXPECT_EQ(at("/proc").type, "proc");
}

}  // namespace
