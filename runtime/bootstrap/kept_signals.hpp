// What signals do stays as it was, whatever libraries are loaded meanwhile.
#pragma once

#include <csignal>
#include <utility>
#include <vector>

namespace lockstep::bootstrap {

/// While it lives, libraries may come in by ways that nobody thinks of: PMIx loads hwloc, hwloc its
/// plugins, one of them OpenCL, and that an LLVM, which catches SIGTERM and its like in order to
/// clean up and end the process. A trigger's handler calls whoever was there before it, and must
/// not find that. Keeps the signals that may become triggers; handlers of faults stay with those
/// who want them.
class KeptSignals {
 public:
  KeptSignals();
  ~KeptSignals();
  KeptSignals(const KeptSignals&) = delete;
  KeptSignals& operator=(const KeptSignals&) = delete;

 private:
  std::vector<std::pair<int, struct sigaction>> before_;
};

}  // namespace lockstep::bootstrap
