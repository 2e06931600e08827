// Lines as kernels write them, and paths whose mount is known by hand.
#include "runtime/filesystem/mounts.hpp"

#include <gtest/gtest.h>

namespace {

using namespace lockstep::filesystem;

constexpr const char* kUsual =
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "22 21 0:5 / /proc rw,nosuid shared:2 - proc proc rw\n"
    "30 21 0:40 / /scratch rw shared:7 master:3 - nfs4 server:/export/scratch rw,vers=4.2\n"
    "31 30 0:41 / /scratch/tmp rw - tmpfs tmpfs rw\n"
    "32 21 8:1 /data/of\\040mine /mnt/b\\040c rw - ext4 /dev/sda1 rw\n"
    "33 21 0:42 / /merged rw - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w\n"
    "34 21 0:43 / /empty rw -  tmpfs  rw\n";

std::string point_at(const std::vector<Mount>& mounts, std::string_view path) {
  const Mount* const mount = mount_at(mounts, path);
  return mount != nullptr ? mount->point : "none";
}

TEST(Mounts, ReadsWhatTheKernelWrites) {
  const auto mounts = parse_mounts(kUsual);
  ASSERT_GE(mounts.size(), 6u);
  EXPECT_EQ(mounts[0].id, 21u);
  EXPECT_EQ(mounts[0].parent, 1u);
  EXPECT_EQ(mounts[0].type, "ext4");
  EXPECT_EQ(mounts[2].point, "/scratch");
  EXPECT_EQ(mounts[2].type, "nfs4") << "however many optional fields there are";
  EXPECT_EQ(mounts[2].source, "server:/export/scratch");
  EXPECT_EQ(mounts[5].type, "overlay");
}

TEST(Mounts, NamesHaveSpacesTabsLineEndsAndBackslashes) {
  const auto mounts = parse_mounts(
      "1 0 0:1 /\\011a\\012b /c\\134040d\\040e rw - ext4 /dev/x\\040y rw\n"
      "2 1 0:2 /tail\\ /tail\\04 rw - ext4 s rw\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].root, "/\ta\nb");
  EXPECT_EQ(mounts[0].point, "/c\\040d e") << "an escaped backslash begins no escape";
  EXPECT_EQ(mounts[0].source, "/dev/x y");
  EXPECT_EQ(mounts[1].root, "/tail\\");
  EXPECT_EQ(mounts[1].point, "/tail\\04") << "two digits are no escape";
}

TEST(Mounts, LeavesOutLinesThatAreNone) {
  for (const char* line : {"", "\n\n", "x", "1 2 0:1 / /a rw", "1 2 0:1 / /a rw -",
                           "1 2 0:1 / /a rw - ext4", "one 2 0:1 / /a rw - ext4 s rw",
                           "1 2x 0:1 / /a rw - ext4 s rw", "1 2 0:1 / relative rw - ext4 s rw"}) {
    EXPECT_TRUE(parse_mounts(line).empty()) << line;
  }
  EXPECT_EQ(parse_mounts("rubbish\n1 0 0:1 / / rw - ext4 s rw").size(), 1u) << "no line end";
}

TEST(Mounts, APathIsOnTheNearestMountAboveIt) {
  const auto mounts = parse_mounts(kUsual);
  EXPECT_EQ(point_at(mounts, "/"), "/");
  EXPECT_EQ(point_at(mounts, "/home/me"), "/");
  EXPECT_EQ(point_at(mounts, "/scratch"), "/scratch");
  EXPECT_EQ(point_at(mounts, "/scratch/me/x"), "/scratch");
  EXPECT_EQ(point_at(mounts, "/scratch2"), "/") << "names are compared, not letters";
  EXPECT_EQ(point_at(mounts, "/scratch/tmp/x"), "/scratch/tmp");
  EXPECT_EQ(point_at(mounts, "/mnt/b c/d"), "/mnt/b c");
}

TEST(Mounts, AMountHidesWhatWasMountedBelowItBefore) {
  const auto mounts = parse_mounts(
      "1 0 0:1 / / rw - ext4 root rw\n"
      "2 1 0:2 / /a/b rw - ext4 hidden rw\n"
      "3 1 0:3 / /a rw - ext4 over rw\n"
      "4 3 0:4 / /a rw - ext4 over-again rw\n");
  EXPECT_EQ(mount_at(mounts, "/a/b/c")->source, "over-again");
  EXPECT_EQ(mount_at(mounts, "/a")->source, "over-again");
  EXPECT_EQ(mount_at(mounts, "/c")->source, "root");
}

TEST(Mounts, RootsOfChrootsAreNotListedAndSomeAreTheirOwnParents) {
  const auto chroot = parse_mounts("9 4 0:9 / /tmp rw - tmpfs t rw\n");
  EXPECT_EQ(mount_at(chroot, "/tmp/x")->source, "t");
  EXPECT_EQ(mount_at(chroot, "/home"), nullptr);
  EXPECT_EQ(mount_at({}, "/"), nullptr);
  const auto own = parse_mounts(
      "1 1 0:1 / / rw - rootfs rootfs rw\n"
      "2 1 0:2 / / rw - ext4 root rw\n");
  EXPECT_EQ(mount_at(own, "/x")->source, "root");
  const auto circle = parse_mounts(
      "1 2 0:1 / / rw - ext4 a rw\n"
      "2 1 0:2 / / rw - ext4 b rw\n");
  EXPECT_EQ(mount_at(circle, "/x"), nullptr) << "it ends, whatever the file says";
}

TEST(Mounts, PathsAreThoseOfTheFileSystem) {
  const auto mounts = parse_mounts(kUsual);
  EXPECT_EQ(path_inside(*mount_at(mounts, "/mnt/b c/d"), "/mnt/b c/d"), "/data/of mine/d");
  EXPECT_EQ(path_inside(*mount_at(mounts, "/mnt/b c"), "/mnt/b c"), "/data/of mine");
  EXPECT_EQ(path_inside(*mount_at(mounts, "/scratch/a/b"), "/scratch/a/b"), "/a/b");
  EXPECT_EQ(path_inside(*mount_at(mounts, "/scratch"), "/scratch"), "/");
  EXPECT_EQ(path_inside(*mount_at(mounts, "/home/x"), "/home/x"), "/home/x");
  EXPECT_EQ(path_inside(*mount_at(mounts, "/"), "/"), "/");
}

TEST(Mounts, UnknownTypesAreNotOfOneKernel) {
  EXPECT_TRUE(is_of_one_kernel("tmpfs"));
  EXPECT_TRUE(is_of_one_kernel("overlay"));
  for (const char* type : {"nfs", "nfs4", "lustre", "gpfs", "ceph", "cifs", "fuse.sshfs", "9p",
                           "virtiofs", "beegfs", "", "tmpf", "of tomorrow"}) {
    EXPECT_FALSE(is_of_one_kernel(type)) << type;
  }
}

}  // namespace
