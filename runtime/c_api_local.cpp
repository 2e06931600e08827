// The C API of what needs no round: shares of work, printing, saving.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <random>
#include <string>

#include <fmt/format.h>

#include "runtime/base/unique_fd.hpp"
#include "runtime/c_api_support.hpp"
#include "runtime/collect.hpp"

namespace lockstep::c_api {
namespace {

/// All of it, whatever write(2) takes at a time; false with errno set.
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

lockstep_status_t print_lines(std::string text) {
  text += '\n';
  // One write for the whole line, so that lines of several nodes do not mix inside.
  if (!write_all(STDOUT_FILENO, text)) {
    return keep({LOCKSTEP_E_IO, fmt::format("stdout: {}", std::strerror(errno))});
  }
  return LOCKSTEP_OK;
}

/// A file that becomes visible under its name only when it is whole and on disk.
class Replacement {
 public:
  explicit Replacement(std::string path) : path_(std::move(path)) {
    const auto slash = path_.rfind('/');
    folder_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
    const std::string name = slash == std::string::npos ? path_ : path_.substr(slash + 1);
    // Unlike any other's, also of another job that saves to the same path on another host.
    std::random_device random;
    const std::string suffix = fmt::format(".lockstep-{:08x}{:08x}.tmp", random(), random());
    temporary_ =
        fmt::format("{}/.{}{}", folder_, beginning(name, NAME_MAX - 1 - suffix.size()), suffix);
  }
  ~Replacement() {
    if (has_name_) unlink(temporary_.c_str());
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  Status open() {
    // Without a name it is gone if this process is killed. Not every file system can do that.
    file_.reset(::open(folder_.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666));
    if (file_) return {};
    file_.reset(
        ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    has_name_ = static_cast<bool>(file_);
    return file_ ? Status{} : failure("cannot create", temporary_);
  }
  int descriptor() const { return file_.get(); }

  Status commit() {
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

 private:
  /// At most `length` bytes of `name`, and no half of a UTF-8 character: some file systems mind.
  static std::string_view beginning(std::string_view name, std::size_t length) {
    if (name.size() <= length) return name;
    while (length > 0 && (name[length] & 0xC0) == 0x80) --length;
    return name.substr(0, length);
  }
  static Status failure(const char* what, const std::string& where) {
    return {LOCKSTEP_E_IO, fmt::format("save: {} {}: {}", what, where, std::strerror(errno))};
  }
  std::string path_;
  std::string folder_;
  std::string temporary_;
  UniqueFd file_;
  bool has_name_ = false;
};

}  // namespace
}  // namespace lockstep::c_api

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_split_range(uint64_t total, uint32_t part, uint32_t parts,
                                       uint64_t* begin_p, uint64_t* end_p) {
  if (parts == 0 || part >= parts) return invalid("part must be below parts");
  if (begin_p == nullptr || end_p == nullptr) return invalid("begin_p or end_p is NULL");
  const uint64_t quotient = total / parts;
  const uint64_t remainder = total % parts;
  *begin_p = part * quotient + (part < remainder ? part : remainder);
  *end_p = *begin_p + quotient + (part < remainder ? 1 : 0);
  return LOCKSTEP_OK;
}

lockstep_status_t lockstep_print(lockstep_session_t session, lockstep_scope_t scope,
                                 const char* text) {
  if (!is_live(session)) return refuse(session);
  if (text == nullptr) return invalid("text is NULL");
  if (scope != LOCKSTEP_PER_JOB && scope != LOCKSTEP_PER_NODE) return invalid("no such scope");
  return guard([&] {
    const bool speaks = scope == LOCKSTEP_PER_JOB ? of(session)->identity().rank == 0
                                                  : of(session)->local_rank() == 0;
    return speaks ? print_lines(text) : LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_print_in_order(lockstep_group_t group, const char* text,
                                          const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  return guard([&] {
    const std::string_view mine = text != nullptr ? text : "";
    auto all = gather_all(*of(group), make_call(Operation::print_in_order, call),
                          std::as_bytes(std::span(mine)));
    if (!all.ok()) return keep(all.status());
    if (of(group)->rank() != 0) return LOCKSTEP_OK;
    std::string lines;
    for (const auto& part : all.value()) {
      if (part.empty()) continue;
      if (!lines.empty()) lines += '\n';
      lines.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    return lines.empty() ? LOCKSTEP_OK : print_lines(std::move(lines));
  });
}

lockstep_status_t lockstep_save(lockstep_session_t session, const char* path,
                                lockstep_writer_t writer, void* context) {
  if (!is_live(session)) return refuse(session);
  if (path == nullptr || *path == '\0' || writer == nullptr)
    return invalid("path or writer is empty");
  return guard([&] {
    if (of(session)->identity().rank != 0) return LOCKSTEP_OK;
    Replacement file(path);
    if (Status status = file.open(); !status.ok()) return keep(status);
    errno = 0;
    if (writer(file.descriptor(), context) != 0) {
      // Most writers give up because a write has failed: what it left in errno is the reason.
      const std::string why = errno != 0 ? fmt::format(" ({})", std::strerror(errno)) : "";
      return keep(
          {LOCKSTEP_E_IO, fmt::format("save: the writer of {} gave up{}; the old file, if any, "
                                      "is untouched",
                                      path, why)});
    }
    if (Status status = file.commit(); !status.ok()) return keep(status);
    return LOCKSTEP_OK;
  });
}

}  // extern "C"
