// Temporary file, sync, rename, sync of the folder.
#include "runtime/saving/replace_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <random>

#include <fmt/format.h>

namespace lockstep {
namespace {

constexpr std::string_view kMark = ".lockstep-";
constexpr std::string_view kEnd = ".tmp";
/// Savers of one path at one time that leave nothing behind when they are killed; more take a name
/// that nobody looks for again.
constexpr unsigned kSlots = 4;
constexpr unsigned kTries = 100;

/// At most `length` bytes of `name`, and no half of a UTF-8 character: some file systems mind.
std::string_view beginning(std::string_view name, std::size_t length) {
  if (name.size() <= length) return name;
  while (length > 0 && (name[length] & 0xC0) == 0x80) --length;
  return name.substr(0, length);
}

std::string temporary_name(std::string_view name, std::string_view middle) {
  const std::string suffix = fmt::format("{}{}{}", kMark, middle, kEnd);
  return fmt::format(".{}{}", beginning(name, NAME_MAX - 1 - suffix.size()), suffix);
}

bool is_same(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

}  // namespace

std::string advice(int error, const std::string& folder) {
  switch (error) {
    case ENOENT:
      return fmt::format("; type: mkdir -p {}", folder);
    case ENOSPC:
      return fmt::format("; free some space (df -h {}), or save elsewhere", folder);
    case EDQUOT:
      return "; the quota is used up: remove files (quota -s), or save elsewhere";
    case EFBIG:
      return "; the file is larger than ulimit -f or the file system allows";
    case EROFS:
      return "; the file system is mounted read-only: save elsewhere";
    case EACCES:
    case EPERM:
      return fmt::format("; see ls -ld {}", folder);
    default:
      return {};
  }
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Replacement::Replacement(std::string path, Kind kind) : path_(std::move(path)), kind_(kind) {
  const auto slash = path_.rfind('/');
  folder_path_ = folder_of(path_);
  name_ = slash == std::string::npos ? path_ : path_.substr(slash + 1);
}

Replacement::~Replacement() {
  if (!temporary_.empty()) unlinkat(folder_.get(), temporary_.c_str(), 0);
}

bool Replacement::is_temporary(std::string_view name) {
  return name.starts_with('.') && name.ends_with(kEnd) && name.find(kMark) != name.npos;
}

Status Replacement::failure(const char* what) const {
  const int error = errno;
  return {LOCKSTEP_E_IO, fmt::format("save: cannot {} {}: {}{}", what, path_, std::strerror(error),
                                     advice(error, folder_path_))};
}

std::string Replacement::slot(unsigned number) const {
  return temporary_name(name_, std::to_string(number));
}

std::string Replacement::random_name() const {
  // Unlike any other's, also of another job that saves to the same path on another host.
  std::random_device random;
  return temporary_name(name_, fmt::format("{:08x}{:08x}", random(), random()));
}

Status Replacement::open() {
  folder_.reset(::open(folder_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_) return failure("open the folder of");
  remove_leftovers();
  if (kind_ == Kind::unnamed_if_possible) {
    // Without a name it is gone if this process is killed. Not every file system can do that.
    file_.reset(openat(folder_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
    if (file_) return {};
  }
  for (unsigned number = 0; number < kSlots; ++number) {
    if (open_named(slot(number))) return {};
    if (errno != EEXIST) return failure("create a temporary file for");
  }
  return open_named(random_name()) ? Status{} : failure("create a temporary file for");
}

/// A file of that name which nobody takes for a leftover; false with errno set.
bool Replacement::open_named(const std::string& name) {
  for (unsigned turn = 0; turn < kTries; ++turn) {
    file_.reset(openat(folder_.get(), name.c_str(),
                       O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!file_) return false;
    flock(file_.get(), LOCK_EX);
    // Before the lock it did look like one to somebody else's remove_leftovers().
    struct stat self {};
    if (fstat(file_.get(), &self) != 0) return false;
    if (self.st_nlink > 0) {
      temporary_ = name;
      return true;
    }
  }
  errno = EBUSY;
  return false;
}

void Replacement::remove_leftovers() const {
  for (unsigned number = 0; number < kSlots; ++number) {
    const std::string name = slot(number);
    const UniqueFd file(openat(folder_.get(), name.c_str(),
                               O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    // A live owner holds the lock until the file has another name. A dead one does not, and then
    // nobody renames the file while we have its lock: it is safe to remove what the name means now.
    if (!file || flock(file.get(), LOCK_EX | LOCK_NB) != 0) continue;
    struct stat locked {};
    struct stat named {};
    if (fstat(file.get(), &locked) == 0 &&
        fstatat(folder_.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_same(locked, named)) {
      unlinkat(folder_.get(), name.c_str(), 0);
    }
  }
}

/// A replaced file keeps its permissions, and its owner and group as far as we may give them away.
/// Where it loses its group, the new one may do no more than everybody may.
void Replacement::keep_owner_and_mode() const {
  struct stat old {};
  struct stat mine {};
  if (fstatat(folder_.get(), name_.c_str(), &old, 0) != 0 || !S_ISREG(old.st_mode)) return;
  if (fstat(file_.get(), &mine) != 0) return;
  bool has_owner = old.st_uid == mine.st_uid;
  bool has_group = old.st_gid == mine.st_gid;
  if (!has_owner && fchown(file_.get(), old.st_uid, old.st_gid) == 0) has_owner = has_group = true;
  if (!has_group) has_group = fchown(file_.get(), static_cast<uid_t>(-1), old.st_gid) == 0;
  mode_t mode = old.st_mode & 0777;
  if (has_owner && has_group) mode = old.st_mode & 07777;
  if (!has_group) mode &= ~static_cast<mode_t>(070) | (old.st_mode & 07) << 3;
  fchmod(file_.get(), mode);
}

/// Gives the file its name, if there is none of that name yet, or else a temporary one.
bool Replacement::take_name() {
  const std::string self = fmt::format("/proc/self/fd/{}", file_.get());
  const auto link = [&](const std::string& name) {
    return linkat(AT_FDCWD, self.c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0;
  };
  if (link(name_)) {
    has_replaced_ = true;
    return true;
  }
  if (errno != EEXIST) return false;
  flock(file_.get(), LOCK_EX);
  for (unsigned number = 0; number <= kSlots; ++number) {
    std::string name = number < kSlots ? slot(number) : random_name();
    if (link(name)) {
      temporary_ = std::move(name);
      return true;
    }
    if (errno != EEXIST) return false;
  }
  return false;
}

Status Replacement::name_it() {
  if (temporary_.empty() && !take_name()) return failure("give its name to");
  if (has_replaced_) return {};
  if (renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) != 0) {
    return failure("rename to");
  }
  temporary_.clear();
  has_replaced_ = true;
  return {};
}

Status Replacement::commit() {
  keep_owner_and_mode();
  if (fsync(file_.get()) != 0) return failure("sync");
  if (Status status = name_it(); !status.ok()) return status;
  // Some file systems have nothing to sync a folder for, and say EINVAL.
  if (fsync(folder_.get()) != 0 && errno != EINVAL) {
    return {LOCKSTEP_E_IO,
            fmt::format("save: {} is there, but may not survive a power loss: sync of {}: {}",
                        path_, folder_path_, std::strerror(errno))};
  }
  return {};
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace lockstep
