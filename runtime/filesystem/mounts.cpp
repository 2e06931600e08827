// Reads mountinfo as proc(5) describes it.
#include "runtime/filesystem/mounts.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace lockstep::filesystem {
namespace {

bool is_octal(char c) {
  return c >= '0' && c <= '7';
}

/// Spaces, tabs, line ends and backslashes of names come as \040 and the like.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
                           is_octal(text[i + 2]) && is_octal(text[i + 3]);
    if (!is_escape) {
      plain += text[i];
      continue;
    }
    plain +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

/// Between single spaces: a source may be empty.
std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t at = 0; at <= line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    fields.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return fields;
}

bool read_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_line(std::string_view line, Mount& mount) {
  // id parent major:minor root point options [optional fields] - type source options
  constexpr std::ptrdiff_t kOptional = 6;
  const auto fields = fields_of(line);
  const auto optional = fields.begin() + std::min(kOptional, std::ssize(fields));
  const auto dash = std::find(optional, fields.end(), "-");
  if (fields.end() - dash < 3) return false;
  if (!read_number(fields[0], mount.id) || !read_number(fields[1], mount.parent)) return false;
  mount.root = unescape(fields[3]);
  mount.point = unescape(fields[4]);
  mount.type = unescape(dash[1]);
  mount.source = unescape(dash[2]);
  return !mount.point.empty() && mount.point.front() == '/';
}

/// Whether `path` is `folder` or below it.
bool is_below(std::string_view path, std::string_view folder) {
  if (folder == "/") return true;
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view mountinfo) {
  std::vector<Mount> mounts;
  for (std::size_t at = 0; at < mountinfo.size();) {
    const std::size_t end = std::min(mountinfo.find('\n', at), mountinfo.size());
    Mount mount;
    if (parse_line(mountinfo.substr(at, end - at), mount)) mounts.push_back(std::move(mount));
    at = end + 1;
  }
  return mounts;
}

const Mount* find_mount(std::span<const Mount> mounts, std::uint64_t id) {
  const auto found =
      std::find_if(mounts.begin(), mounts.end(), [id](const Mount& one) { return one.id == id; });
  return found != mounts.end() ? &*found : nullptr;
}

const Mount* mount_at(std::span<const Mount> mounts, std::string_view path) {
  const Mount* current = nullptr;
  const auto is_next = [&](const Mount& one) {
    if (!is_below(path, one.point)) return false;
    if (current != nullptr) return one.parent == current->id && &one != current;
    return one.parent == one.id || find_mount(mounts, one.parent) == nullptr;
  };
  // As many steps as there are mounts at most, whatever the file says.
  for (std::size_t step = 0; step < mounts.size(); ++step) {
    const Mount* next = nullptr;
    for (const Mount& one : mounts) {
      if (!is_next(one)) continue;
      if (next == nullptr || one.point.size() < next->point.size()) next = &one;
    }
    if (next == nullptr) break;
    current = next;
  }
  return current;
}

std::string path_inside(const Mount& mount, std::string_view path) {
  const std::string_view rest =
      is_below(path, mount.point) ? path.substr(mount.point == "/" ? 0 : mount.point.size()) : path;
  std::string inside = mount.root == "/" ? std::string() : mount.root;
  if (rest != "/") inside += rest;
  return inside.empty() ? "/" : inside;
}

bool is_of_one_kernel(std::string_view type) {
  using namespace std::string_view_literals;
  constexpr std::array kTypes = {
      "tmpfs"sv, "ramfs"sv, "rootfs"sv, "devtmpfs"sv, "overlay"sv, "ext2"sv,     "ext3"sv,
      "ext4"sv,  "xfs"sv,   "btrfs"sv,  "zfs"sv,      "f2fs"sv,    "bcachefs"sv, "jfs"sv,
      "vfat"sv,  "exfat"sv, "ntfs3"sv,  "squashfs"sv, "erofs"sv,   "iso9660"sv,  "udf"sv};
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

}  // namespace lockstep::filesystem
