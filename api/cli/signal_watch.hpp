// Turns the launcher's signals into readable events, so that nothing ever runs in a handler.
#pragma once

#include "api/cli/unique_fd.hpp"

#include <vector>

namespace lockstep::cli {

/// Blocks the signals it watches, for good. Those that were ignored when the command started (as
/// nohup does with SIGHUP) stay ignored.
class SignalWatch {
 public:
  SignalWatch();
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::vector<int> take();
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

}  // namespace lockstep::cli
