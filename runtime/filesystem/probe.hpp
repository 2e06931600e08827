// A name in a folder that only one process on each file system can make, and that says who did.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"

namespace lockstep::filesystem {

/// One member's part in a probe. All make the same name at once; making it is exclusive, on the
/// server of a network file system too, so exactly one succeeds wherever the same files are seen,
/// however many file systems there are. Then all read who that was.
///
/// The name is a symbolic link: it appears whole, needs no room, and needs no second call to be
/// filled, after which it might be seen late. Whoever is left removes it: see the destructor.
class Probe {
 public:
  /// @param folder  Borrowed.
  /// @param nonce   The same on all members; of no other probe.
  Probe(int folder, std::uint64_t nonce);
  /// Removes the name, unless the probe is finished: when the call breaks off, because somebody was
  /// killed, any of those who are left will do.
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  /// Makes the name for this member, or finds it made. A status: this folder can hold none.
  Status make(Rank self);

  /// When all have made it: who has. Nothing: there is none, which is an error if make() was ok.
  /// @param patience  How long to look again while there is none.
  std::optional<Rank> read(Nanos patience) const;

  /// When all have read it, by the one who made it: removes it, and what killed jobs have left in
  /// the folder before.
  void remove();
  /// When it is known to be removed.
  void finish() noexcept { is_finished_ = true; }

  const std::string& name() const noexcept { return name_; }

 private:
  int folder_;
  std::string name_;
  bool is_finished_ = false;
};

}  // namespace lockstep::filesystem
