// Replacing a file: whole or not at all, with the old one's permissions, and no leftovers.
#include "runtime/saving/replace_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runtime/saving/step_folder.hpp"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

class ReplaceFile : public testing::TestWithParam<Replacement::Kind> {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lockstep-replace-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path() const { return folder_ / "model"; }
  std::string text() const {
    std::ifstream in(path());
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }
  Status save(std::string_view bytes) const {
    Replacement file(path(), GetParam());
    if (Status status = file.open(); !status.ok()) return status;
    EXPECT_TRUE(write_all(file.descriptor(), bytes));
    return file.commit();
  }
  fs::path folder_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, ReplaceFile,
                         testing::Values(Replacement::Kind::unnamed_if_possible,
                                         Replacement::Kind::named));

TEST_P(ReplaceFile, IsWholeOrNotAtAll) {
  {
    Replacement file(path(), GetParam());
    ASSERT_TRUE(file.open().ok());
    ASSERT_TRUE(write_all(file.descriptor(), "half"));
  }
  EXPECT_EQ(files(), 0u) << "given up: nothing must be left";
  ASSERT_TRUE(save("one").ok());
  EXPECT_EQ(text(), "one");
  ASSERT_TRUE(save("another").ok());
  EXPECT_EQ(text(), "another");
  EXPECT_EQ(files(), 1u);
}

TEST_P(ReplaceFile, KeepsPermissionsAndOwner) {
  ASSERT_TRUE(save("one").ok());
  ASSERT_EQ(chmod(path().c_str(), 0640), 0);
  const bool is_root = geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(chown(path().c_str(), 1234, 5678), 0);
  }
  ASSERT_TRUE(save("two").ok());
  struct stat now {};
  ASSERT_EQ(stat(path().c_str(), &now), 0);
  EXPECT_EQ(now.st_mode & 07777, 0640u);
  EXPECT_EQ(now.st_uid, is_root ? 1234u : geteuid());
  if (is_root) {
    EXPECT_EQ(now.st_gid, 5678u);
  }
}

TEST_P(ReplaceFile, WhoLosesItsGroupLosesTheGroupsRights) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to have a file of a group that others are not in";
  ASSERT_TRUE(save("one").ok());
  ASSERT_EQ(chown(path().c_str(), 0, 5678), 0);
  ASSERT_EQ(chmod(path().c_str(), 02664), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  ASSERT_EQ(setegid(4321), 0);
  ASSERT_EQ(seteuid(4321), 0);  // may write in the folder, and is not in the file's group
  const Status status = save("two");
  ASSERT_EQ(seteuid(0), 0);
  ASSERT_EQ(setegid(0), 0);
  ASSERT_TRUE(status.ok()) << status.text();
  struct stat now {};
  ASSERT_EQ(stat(path().c_str(), &now), 0);
  EXPECT_EQ(now.st_gid, 4321u);
  EXPECT_EQ(now.st_mode & 07777, 0644u) << "another group may do what everybody may, and no more";
}

TEST_P(ReplaceFile, RemovesWhatADeadSaverLeftAndNotWhatALiveOneHas) {
  ASSERT_TRUE(save("one").ok());
  const fs::path dead = folder_ / ".model.lockstep-0.tmp";
  const fs::path live = folder_ / ".model.lockstep-1.tmp";
  std::ofstream(dead) << "half";
  const UniqueFd owner(open(live.c_str(), O_RDWR | O_CREAT, 0600));
  ASSERT_EQ(flock(owner.get(), LOCK_EX), 0);
  ASSERT_TRUE(save("two").ok());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(live));
  EXPECT_EQ(text(), "two");
}

TEST_P(ReplaceFile, AsManyAsLikeSaveToOnePathAtOnce) {
  ASSERT_TRUE(save("old").ok());
  std::vector<std::unique_ptr<Replacement>> savers;
  for (int i = 0; i < 9; ++i) {
    savers.push_back(std::make_unique<Replacement>(path(), GetParam()));
    ASSERT_TRUE(savers.back()->open().ok());
    ASSERT_TRUE(write_all(savers.back()->descriptor(), std::to_string(i)));
  }
  for (int i = 0; i < 9; ++i) {
    const Status status = savers[static_cast<std::size_t>(i)]->commit();
    ASSERT_TRUE(status.ok()) << status.text();
    EXPECT_EQ(text(), std::to_string(i));
  }
  savers.clear();
  EXPECT_EQ(files(), 1u);
}

TEST_P(ReplaceFile, AVanishedFolderIsAnErrorThatSaysWhatToType) {
  Replacement file(path(), GetParam());
  ASSERT_TRUE(file.open().ok());
  ASSERT_TRUE(write_all(file.descriptor(), "half"));
  fs::remove_all(folder_);
  const Status status = file.commit();
  EXPECT_TRUE(status.is(LOCKSTEP_E_IO));
  EXPECT_NE(status.text().find("No such file or directory; type: mkdir -p " + folder_.string()),
            std::string::npos)
      << status.text();
  EXPECT_FALSE(fs::exists(folder_));
}

// What another process uses is left alone; what nobody uses goes, and files of others stay.
TEST(StepFolder, IsRemovedOnlyWhenNobodyUsesIt) {
  std::string pattern = testing::TempDir() + "lockstep-steps-XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  const std::string store = pattern + "/store";
  using namespace saving;
  {
    auto use = FolderUse::enter(store, 5);
    ASSERT_TRUE(use.ok()) << use.status().text();
    std::ofstream(step_path(store, 5) + "/" + part_name(0, 1)) << "part";
    remove_step(store, 5);
    EXPECT_TRUE(fs::exists(step_path(store, 5) + "/" + part_name(0, 1)));
  }
  std::ofstream(step_path(store, 5) + "/notes.txt") << "mine";
  remove_step(store, 5);
  EXPECT_FALSE(fs::exists(step_path(store, 5) + "/" + part_name(0, 1)));
  EXPECT_TRUE(fs::exists(step_path(store, 5) + "/notes.txt"));
  fs::remove(step_path(store, 5) + "/notes.txt");
  remove_step(store, 5);
  EXPECT_FALSE(fs::exists(step_path(store, 5)));
  EXPECT_TRUE(list_steps(store + "/nowhere")->committed.empty()) << "not there yet: empty";
  EXPECT_FALSE(list_steps("/dev/null").ok());
  fs::remove_all(pattern);
}

}  // namespace
}  // namespace lockstep
