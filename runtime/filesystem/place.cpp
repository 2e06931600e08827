// Looks once, through one descriptor: whatever is renamed meanwhile, all facts are of one folder.
#include "runtime/filesystem/place.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "runtime/base/hash.hpp"
#include "runtime/filesystem/mounts.hpp"

namespace lockstep::filesystem {
namespace {

// The thread's, not the process's: a thread may have a mount namespace of its own.
constexpr const char* kProc = "/proc/thread-self";

std::uint64_t hash_numbers(std::initializer_list<std::uint64_t> numbers) {
  std::uint64_t hash = 0;
  for (const std::uint64_t number : numbers) hash = mix(hash ^ number);
  return hash;
}

Status failed(const std::string& path, const char* what) {
  return {LOCKSTEP_E_IO, fmt::format("{}: {}", path, what)};
}

/// Cuts the last name off; false where there is none left.
bool go_up(std::string& path) {
  if (path == "/" || path == ".") return false;
  const std::size_t name = path.find_last_of('/');
  if (name == std::string::npos) {
    path = ".";
    return true;
  }
  const std::size_t end = path.find_last_not_of('/', name);
  path.resize(end == std::string::npos ? 1 : end + 1);
  return true;
}

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string name_of(int folder, const std::string& fallback) {
  std::array<char, PATH_MAX> room;
  const ssize_t length =
      readlink(fmt::format("{}/fd/{}", kProc, folder).c_str(), room.data(), room.size());
  return length > 0 ? std::string(room.data(), static_cast<std::size_t>(length)) : fallback;
}

/// Number of the mount that a descriptor is on, as the kernel counts them.
std::optional<std::uint64_t> mount_number(int folder) {
  std::ifstream in(fmt::format("{}/fdinfo/{}", kProc, folder));
  std::string word;
  while (in >> word) {
    std::uint64_t number = 0;
    if (word == "mnt_id:" && in >> number) return number;
  }
  return std::nullopt;
}

/// Numbers of mounts are those of a namespace. Where it cannot be told nobody has the same.
std::uint64_t mount_namespace() {
  struct stat space {};
  if (stat(fmt::format("{}/ns/mnt", kProc).c_str(), &space) == 0) return space.st_ino;
  return static_cast<std::uint64_t>(getpid()) << 32;
}

std::uint64_t kernel() {
  const std::string boot = text_of("/proc/sys/kernel/random/boot_id");
  if (!boot.empty()) return hash_text(boot);
  utsname name{};
  return uname(&name) == 0 ? hash_text(name.nodename) : 0;
}

}  // namespace

Result<Place> look_at(const std::string& path) {
  Place place;
  std::string there = path;
  if (there.size() > 1) there.resize(there.find_last_not_of('/') + 1);
  if (there.empty()) there = "/";
  while (true) {
    place.folder.reset(open(there.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (place.folder) break;
    const int reason = errno;
    struct stat link {};
    if (reason == ENOENT && lstat(there.c_str(), &link) == 0 && S_ISLNK(link.st_mode)) {
      return failed(there, "it is a link to something that is not there; make that first");
    }
    if ((reason != ENOENT && reason != ENOTDIR) || !go_up(there)) {
      return failed(there, std::strerror(reason));
    }
    ++place.facts.missing;
  }
  struct stat folder {};
  if (fstat(place.folder.get(), &folder) != 0) return failed(there, std::strerror(errno));
  place.path = name_of(place.folder.get(), there);

  const std::vector<Mount> mounts = parse_mounts(text_of(fmt::format("{}/mountinfo", kProc)));
  const auto number = mount_number(place.folder.get());
  const Mount* mount = number ? find_mount(mounts, *number) : nullptr;
  if (mount == nullptr) mount = mount_at(mounts, place.path);
  if (mount != nullptr) place.type = mount->type;

  place.facts.folder = folder.st_ino;
  place.facts.mount = hash_numbers(
      {mount_namespace(), number.value_or(mount != nullptr ? mount->id : 0), folder.st_dev});
  if (is_of_one_kernel(place.type)) {
    place.facts.likeness = hash_numbers({kernel(), folder.st_dev, folder.st_ino});
    return place;
  }
  struct statfs system {};
  if (fstatfs(place.folder.get(), &system) != 0) std::memset(&system, 0, sizeof system);
  std::array<std::uint32_t, 2> id{};
  static_assert(sizeof id == sizeof system.f_fsid);
  std::memcpy(id.data(), &system.f_fsid, sizeof id);
  const std::string source =
      mount != nullptr ? mount->type + '\n' + mount->source + '\n' + path_inside(*mount, place.path)
                       : place.path;
  place.facts.lags = 1;
  place.facts.likeness = hash_numbers(
      {hash_text(source), static_cast<std::uint64_t>(system.f_type), id[0], id[1], folder.st_ino});
  return place;
}

}  // namespace lockstep::filesystem
