// What ranks share, as calls of the C++ interface name it. Part of lockstep/lockstep.hpp.
#pragma once

#include <string>
#include <utility>

#include "lockstep/lockstep.h"

namespace lockstep {

/// What ranks share: Scope::node, or Scope::file_system("/scratch/me").
class Scope {
 public:
  enum Kind : int {
    job = LOCKSTEP_PER_JOB,
    node = LOCKSTEP_PER_NODE,
    numa = LOCKSTEP_PER_NUMA,            ///< an L3 cache or NUMA domain
    leaf_switch = LOCKSTEP_PER_SWITCH,   ///< the lowest switch above the node
    gpu_group = LOCKSTEP_PER_GPU_GROUP,  ///< GPUs that reach each other's memory directly
  };
  Scope(Kind kind) : scope_(static_cast<lockstep_scope_t>(kind)) {}  // NOLINT: implicit on purpose
  /// The files at a path, as each rank sees it; it need not be there yet.
  static Scope file_system(std::string path) {
    Scope scope(job);
    scope.scope_ = LOCKSTEP_PER_FILE_SYSTEM;
    scope.path_ = std::move(path);
    return scope;
  }

  lockstep_scope_t scope() const noexcept { return scope_; }
  const std::string& path() const noexcept { return path_; }

 private:
  lockstep_scope_t scope_;
  std::string path_;
};

}  // namespace lockstep
