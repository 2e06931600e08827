// Temporary file, sync, rename, sync of the folder.
#include "runtime/replace_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <random>

#include <fmt/format.h>

namespace lockstep {
namespace {

/// At most `length` bytes of `name`, and no half of a UTF-8 character: some file systems mind.
std::string_view beginning(std::string_view name, std::size_t length) {
  if (name.size() <= length) return name;
  while (length > 0 && (name[length] & 0xC0) == 0x80) --length;
  return name.substr(0, length);
}

Status failure(const char* what, const std::string& where) {
  return {LOCKSTEP_E_IO, fmt::format("save: {} {}: {}", what, where, std::strerror(errno))};
}

}  // namespace

Replacement::Replacement(std::string path) : path_(std::move(path)) {
  const auto slash = path_.rfind('/');
  folder_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  const std::string name = slash == std::string::npos ? path_ : path_.substr(slash + 1);
  // Unlike any other's, also of another job that saves to the same path on another host.
  std::random_device random;
  const std::string suffix = fmt::format(".lockstep-{:08x}{:08x}.tmp", random(), random());
  temporary_ =
      fmt::format("{}/.{}{}", folder_, beginning(name, NAME_MAX - 1 - suffix.size()), suffix);
}

Replacement::~Replacement() {
  if (has_name_) unlink(temporary_.c_str());
}

Status Replacement::open() {
  // Without a name it is gone if this process is killed. Not every file system can do that.
  file_.reset(::open(folder_.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666));
  if (file_) return {};
  file_.reset(
      ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
  has_name_ = static_cast<bool>(file_);
  return file_ ? Status{} : failure("cannot create", temporary_);
}

Status Replacement::commit() {
  struct stat old {};
  // A replaced file keeps its permissions.
  if (stat(path_.c_str(), &old) == 0) fchmod(file_.get(), old.st_mode & 07777);
  if (fsync(file_.get()) != 0) return failure("cannot sync", path_);
  if (!has_name_) {
    const std::string self = fmt::format("/proc/self/fd/{}", file_.get());
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return failure("cannot name", temporary_);
    }
    has_name_ = true;
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return failure("cannot rename to", path_);
  has_name_ = false;
  const UniqueFd folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || fsync(folder.get()) != 0) {
    return failure("the file is there, but may not survive a power loss: sync of", folder_);
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
