// Looks with stat(2), which needs no right to read the file.
#include "runtime/lifecycle/touched_file.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "runtime/base/clean_text.hpp"

namespace lockstep::lifecycle {
namespace {

/// A report's text has room for more, and goes on after the path.
constexpr std::size_t kShownMax = 200;

}  // namespace

Result<TouchedFile> TouchedFile::at(std::string_view path) {
  if (path.empty()) {
    return Status(LOCKSTEP_E_INVALID, "the path of a trigger's file is empty; name a file");
  }
  std::error_code error;
  const std::string whole = std::filesystem::absolute(path, error).string();
  if (error) {
    return Status(LOCKSTEP_E_IO,
                  fmt::format("the trigger's file {} cannot be found from the working folder: {}; "
                              "give a path that begins with /",
                              clean_text(path, kShownMax), error.message()));
  }
  if (whole.size() >= PATH_MAX) {
    return Status(LOCKSTEP_E_INVALID,
                  fmt::format("the path of a trigger's file has {} bytes, and {} is the most that "
                              "the system takes; name a nearer one",
                              whole.size(), PATH_MAX - 1));
  }
  return TouchedFile(clean_text(path, kShownMax), whole);
}

TouchedFile::TouchedFile(std::string shown, std::string path)
    : shown_(std::move(shown)), path_(std::move(path)), seen_(look()) {}

/// Nothing: it cannot be told now, as when a file server is away. To take that for a file that is
/// not there would set the trigger once the server is back.
std::optional<TouchedFile::Stamp> TouchedFile::look() const noexcept {
  struct stat found {};
  if (stat(path_.c_str(), &found) == 0) {
    return Stamp{true, found.st_ino,
                 static_cast<Nanos>(found.st_mtim.tv_sec) * kSecond + found.st_mtim.tv_nsec};
  }
  if (errno == ENOENT || errno == ENOTDIR) return Stamp{};
  return std::nullopt;
}

bool TouchedFile::was_touched() noexcept {
  const std::optional<Stamp> found = look();
  if (!found) return false;
  const bool is_news = seen_ && found->is_there && *found != *seen_;
  seen_ = found;
  return is_news;
}

}  // namespace lockstep::lifecycle
