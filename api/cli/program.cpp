// Looks a program up the way execvp(3) does, but tells why it cannot be run.
#include "api/cli/program.hpp"

#include "api/cli/command_error.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lockstep::cli {
namespace {

constexpr const char* kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

// 0, or the errno that running `path` would give.
int why_not_runnable(const std::string& path) {
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0) return errno;
  if (S_ISDIR(facts.st_mode)) return EISDIR;
  if (!S_ISREG(facts.st_mode)) return EACCES;
  return access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

[[noreturn]] void refuse(const std::string& path, int error) {
  const bool is_absent = error == ENOENT || error == ENOTDIR;
  throw CommandError(is_absent ? kExitNotFound : kExitNotExecutable,
                     fmt::format("cannot run '{}': {}", path, strerrordesc_np(error)));
}

}  // namespace

std::string find_program(const std::string& name, const Environment& environment) {
  if (name.find('/') != std::string::npos) {
    const int error = why_not_runnable(name);
    if (error != 0) refuse(name, error);
    return name;
  }
  const std::string path = environment.find("PATH").value_or(kDefaultPath);
  std::string seen_but_unusable;
  int why_unusable = 0;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder = path.substr(begin, end - begin);
    std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    const int error = why_not_runnable(candidate);
    if (error == 0) return candidate;
    if (error != ENOENT && error != ENOTDIR && seen_but_unusable.empty()) {
      seen_but_unusable = candidate;
      why_unusable = error;
    }
    begin = end + 1;
  }
  if (!seen_but_unusable.empty()) refuse(seen_but_unusable, why_unusable);
  throw CommandError(kExitNotFound,
                     fmt::format("cannot run '{}': no such program in PATH (a program of this "
                                 "folder is written ./{})",
                                 name, name));
}

}  // namespace lockstep::cli
