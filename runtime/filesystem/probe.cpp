// Symbolic links to nowhere: made, read and removed by single system calls.
#include "runtime/filesystem/probe.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "runtime/base/unique_fd.hpp"

namespace lockstep::filesystem {
namespace {

constexpr std::string_view kPrefix = ".lockstep-probe-";
/// Where it points to: tells whoever finds one what it is.
constexpr std::string_view kTarget = "lockstep was looking who sees this: member ";
/// A leftover is older than any probe that goes on; by the file system's own clock.
constexpr time_t kLeftoverAge = 600;
/// Entries of a folder that are looked at for leftovers: it may have millions.
constexpr int kEntriesMax = 4096;
constexpr Nanos kFirstPause = kMillisecond;
constexpr Nanos kLongestPause = 200 * kMillisecond;

std::optional<Rank> read_link(int folder, const std::string& name) {
  std::array<char, 128> room;
  const ssize_t length = readlinkat(folder, name.c_str(), room.data(), room.size());
  if (length <= 0) return std::nullopt;
  const std::string_view text(room.data(), static_cast<std::size_t>(length));
  if (!text.starts_with(kTarget)) return std::nullopt;
  Rank rank = kNoRank;
  const auto [end, error] =
      std::from_chars(text.data() + kTarget.size(), text.data() + text.size(), rank);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return rank;
}

/// Opening a folder is when a client of NFS asks its server whether it has changed; where it may
/// not be read, that is all there is to do.
int open_folder(int folder) {
  return openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void remove_leftovers(int folder, time_t now_there) {
  UniqueFd opened(open_folder(folder));
  if (!opened) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(fdopendir(opened.get()), closedir);
  if (entries == nullptr) return;
  opened.release();  // closedir() closes it
  for (int i = 0; i < kEntriesMax; ++i) {
    const dirent* const entry = readdir(entries.get());
    if (entry == nullptr) return;
    struct stat found {};
    if (!std::string_view(entry->d_name).starts_with(kPrefix) ||
        fstatat(folder, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISLNK(found.st_mode) || found.st_mtime > now_there - kLeftoverAge ||
        !read_link(folder, entry->d_name)) {
      continue;
    }
    unlinkat(folder, entry->d_name, 0);
  }
}

}  // namespace

Probe::Probe(int folder, std::uint64_t nonce)
    : folder_(folder), name_(fmt::format("{}{:016x}", kPrefix, nonce)) {}

Probe::~Probe() {
  if (!is_finished_) unlinkat(folder_, name_.c_str(), 0);
}

Status Probe::make(Rank self) {
  const std::string target = fmt::format("{}{}", kTarget, self);
  while (symlinkat(target.c_str(), folder_, name_.c_str()) != 0) {
    if (errno == EEXIST) return {};
    if (errno != EINTR) return {LOCKSTEP_E_IO, std::strerror(errno)};
  }
  return {};
}

std::optional<Rank> Probe::read(Nanos patience) const {
  const Nanos deadline = after(now(), patience);
  for (Nanos pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    if (const auto found = read_link(folder_, name_)) return found;
    if (now() >= deadline) return std::nullopt;
    const timespec nap{pause / kSecond, pause % kSecond};
    nanosleep(&nap, nullptr);
    const UniqueFd refreshed(open_folder(folder_));
  }
}

void Probe::remove() {
  struct stat mine {};
  const bool has_time = fstatat(folder_, name_.c_str(), &mine, AT_SYMLINK_NOFOLLOW) == 0;
  unlinkat(folder_, name_.c_str(), 0);
  if (has_time) remove_leftovers(folder_, mine.st_mtime);
}

}  // namespace lockstep::filesystem
