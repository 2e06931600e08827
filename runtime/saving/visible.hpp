// Waiting until this node sees what another one has written: caches of network file systems lag.
#pragma once

#include <string>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/saving/digest.hpp"

namespace lockstep::saving {

/// Returns when the file has that content here; LOCKSTEP_E_IO with what it is instead when it still
/// has not at the deadline.
Status await_content(const std::string& path, const Digest& wanted, Nanos deadline);

}  // namespace lockstep::saving
