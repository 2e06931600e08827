// Opens anew for each look: that is when a client of NFS asks its server.
#include "runtime/saving/visible.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>

#include <fmt/format.h>

#include "runtime/base/unique_fd.hpp"

namespace lockstep::saving {
namespace {

constexpr Nanos kFirstPause = kMillisecond;
constexpr Nanos kLongestPause = 200 * kMillisecond;

/// What is different now; nothing if it is the wanted content.
std::optional<std::string> difference(const std::string& path, const Digest& wanted) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat found {};
  if (!file || fstat(file.get(), &found) != 0) return std::strerror(errno);
  // Reading is worth it only if the size is right.
  if (static_cast<std::uint64_t>(found.st_size) != wanted.size) {
    return fmt::format("it has {} bytes and not {}", found.st_size, wanted.size);
  }
  const auto digest = digest_of_file(file.get());
  if (!digest) return std::strerror(errno);
  if (*digest == wanted) return std::nullopt;
  return fmt::format("its XXH3 is {} and not {}", hex(*digest), hex(wanted));
}

}  // namespace

Status await_content(const std::string& path, const Digest& wanted, Nanos deadline) {
  for (Nanos pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    const auto reason = difference(path, wanted);
    if (!reason) return {};
    if (now() >= deadline) {
      return {LOCKSTEP_E_IO,
              fmt::format("{} is saved, but its new content cannot be seen from here: {}; is it on "
                          "a file system that all nodes share?",
                          path, *reason)};
    }
    const timespec nap{pause / kSecond, pause % kSecond};
    nanosleep(&nap, nullptr);
  }
}

}  // namespace lockstep::saving
