// Forks and executes one rank from a process that has threads: everything is prepared before fork.
#pragma once

#include "api/cli/placement.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace lockstep::cli {

/// Settings as they were when the command started, before it changed its own; ranks get them back.
struct InheritedSettings {
  sigset_t mask;
  struct sigaction on_broken_pipe;
  rlimit open_files;
  static InheritedSettings now();
};

/// A NULL-terminated list of malloc'ed strings, the shape that libpmix extends in place.
class CStringList {
 public:
  explicit CStringList(const std::vector<std::string>& strings);
  CStringList(const CStringList&) = delete;
  CStringList& operator=(const CStringList&) = delete;
  ~CStringList();
  [[nodiscard]] char** get() const { return list_; }
  [[nodiscard]] char*** address() { return &list_; }

 private:
  char** list_;
};

struct RankStart {
  const char* path;
  char* const* arguments;
  char* const* environment;
  const CpuList* cpus;  ///< Empty: the rank inherits the affinity.
  int stdin_fd;
  int stdout_fd;
  int stderr_fd;
  const InheritedSettings* inherited;
};

/// Call from the main thread: the kernel kills the rank when the *thread* that forked it ends.
/// The rank leads a process group of its own and has no other descriptors than 0, 1 and 2.
/// Throws CommandError when no process can be made. A rank that cannot execute its program says so
/// on stderr and exits 126 or 127.
[[nodiscard]] pid_t start_rank(const RankStart& start);

}  // namespace lockstep::cli
