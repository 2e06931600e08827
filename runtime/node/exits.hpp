// How tasks of this node have ended, as Slurm's own daemon saw it, where its plugin tells
// (slurm/spank): exact, and across namespaces of processes too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "runtime/base/ids.hpp"
#include "runtime/config/environment.hpp"
#include "slurm/spank/exit_page.h"

namespace lockstep::node {

class Exits {
 public:
  Exits() = default;
  /// Finds the page that this process, which is `self`, has inherited. Empty if there is none, or
  /// if it is another step's: a number in the environment may be a stale one.
  static Exits find(const Environment& environment, Rank self);
  Exits(Exits&& other) noexcept;
  Exits& operator=(Exits&& other) noexcept;
  ~Exits();

  bool is_there() const noexcept { return !lines_.empty(); }

  struct Task {
    std::int64_t pid = 0;            ///< as the task itself sees it
    std::optional<int> wait_status;  ///< once it has ended; see waitpid(2)
  };
  /// What is known of a rank; nothing if it has no task here.
  std::optional<Task> task_of(Rank rank) const noexcept;

 private:
  std::span<const lockstep_exit_line> lines_;
};

/// "exited with 3", "was killed by SIGKILL".
std::string describe_exit(int wait_status);

}  // namespace lockstep::node
