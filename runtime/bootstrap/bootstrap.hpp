// How processes find each other at start-up: say one thing, meet once, look others up, leave.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "runtime/bootstrap/identity.hpp"
#include "runtime/config/config.hpp"

namespace lockstep::bootstrap {

class Bootstrap {
 public:
  virtual ~Bootstrap() = default;

  const Identity& identity() const noexcept { return identity_; }
  /// Puts this process's blob; visible to the others after the fence.
  virtual Status publish(std::span<const std::byte> blob) = 0;
  /// Meets everybody and exchanges the blobs. Sleeps, never spins.
  virtual Status fence() = 0;
  /// The blob of a rank that published one.
  virtual Result<std::vector<std::byte>> lookup(Rank rank) = 0;
  /// Start-up is over: leaves the process manager unless told to stay.
  virtual void finish() = 0;
  virtual bool is_attached() const noexcept = 0;

 protected:
  Identity identity_;
};

/// The first that applies: PMIx, then a job of one; LOCKSTEP_BOOTSTRAP overrides.
Result<std::unique_ptr<Bootstrap>> open_bootstrap(const Config& config,
                                                  const Environment& environment);

/// "PMIx 4.2.2", as found at run time.
std::string pmix_version();

Result<std::unique_ptr<Bootstrap>> open_pmix(const Config& config);

}  // namespace lockstep::bootstrap
