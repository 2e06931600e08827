// Finds the pages of running jobs: they have no name, but the jobs' processes hold them open.
//
// What may be looked at is what the kernel lets this user see in /proc/PID/fd: processes of the
// same user that have not made themselves private, or everything for root. There is nothing to ask
// the job for.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/outside/snapshot.hpp"

namespace lockstep::outside {

/// A process that has a page open.
struct Holder {
  pid_t pid = 0;                    ///< as this process sees it
  std::string path;                 ///< /proc/PID/fd/N
  std::uint64_t pid_namespace = 0;  ///< its own,
  std::uint64_t inner_pid = 0;      ///< and its number there
};

enum class Process { runs, stopped, gone };
const char* process_name(Process process) noexcept;

struct FoundPage {
  UniqueFd memory;  ///< read-only
  std::size_t size = 0;
  uid_t owner = 0;
  std::vector<Holder> holders;

  Read reader() const;
  /// All live members hold their page, so one that does not is gone.
  Process process_of(const MemberView& member) const;
};

/// A page and what was seen in it.
struct Part {
  FoundPage page;
  Snapshot seen;
};

struct Visit {
  std::vector<Part> parts;
  std::vector<std::string> refused;  ///< pages that could not be read, and why
};

/// LOCKSTEP_E_IO: there is no /proc.
Result<Visit> visit(Nanos time);

}  // namespace lockstep::outside
