// What the kernel says about mounts (/proc/PID/mountinfo), read: which one a path is on. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::filesystem {

struct Mount {
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  ///< may be one that is not listed
  std::string root;          ///< what of the file system is mounted; "/" unless it is a bind mount
  std::string point;         ///< where
  std::string type;
  std::string source;
};

/// Lines that are none are left out.
std::vector<Mount> parse_mounts(std::string_view mountinfo);

/// NULL where it is not listed, as the root of a chroot is not.
const Mount* find_mount(std::span<const Mount> mounts, std::uint64_t id);

/// The mount that an absolute path without links is on. Walks as the kernel does: of two mounts on
/// its way the nearer one to the root hides what was mounted below it before. NULL: none is known.
const Mount* mount_at(std::span<const Mount> mounts, std::string_view path);

/// A path on the mount as the file system would call it: "/mnt/a/b" is "/data/b" where /data is
/// mounted on /mnt/a.
std::string path_inside(const Mount& mount, std::string_view path);

/// Whether only one kernel writes to file systems of that type, so that no cache of another one
/// lags and those of two kernels are never the same. Types that nobody has listed are not.
bool is_of_one_kernel(std::string_view type);

}  // namespace lockstep::filesystem
