// Has an agent of this task joined the job before? PMIx remembers it; a file could be left behind.
#pragma once

#include "api/cli/environment.hpp"

namespace lockstep::cli::shell {

/// Asks the task's PMIx server, and leaves word there, for as long as the object lives attached.
/// Without a server the answer is no: a job of one has nobody who could wait in vain.
class FirstJoin {
 public:
  explicit FirstJoin(const Environment& environment);
  FirstJoin(const FirstJoin&) = delete;
  FirstJoin& operator=(const FirstJoin&) = delete;
  ~FirstJoin();

  [[nodiscard]] bool is_first() const { return is_first_; }

 private:
  bool is_attached_ = false;
  bool is_first_ = true;
};

}  // namespace lockstep::cli::shell
