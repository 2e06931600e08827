// How the processes of a node come to share one page: memory without a name, passed by descriptor.
//
// The node's leader listens on an abstract socket with a random name (published through PMIx), the
// others connect, say who they are, and get the descriptor. Both sides check that the other runs as
// the same user. Nothing of this has a name in a file system, so SIGKILL leaves nothing behind.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/config/config.hpp"
#include "runtime/node/asymmetric_fence.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

using DoorName = std::array<std::uint8_t, 16>;

inline constexpr std::size_t kCpusMax = 4096;
using CpuMask = std::array<std::uint64_t, kCpusMax / 64>;

/// What a process tells its node's leader.
struct Hello {
  std::uint64_t magic;
  std::uint64_t session;  ///< 0 when the sender does not know it yet
  std::uint32_t rank;
  std::uint32_t version;
  std::uint64_t pid;
  std::uint64_t pid_namespace;
  CpuMask cpus;     ///< where it may run
  Barrier barrier;  ///< what it can do for polls
};

/// This process's own hello.
Hello introduce(Rank rank);

/// The leader's open door.
class Door {
 public:
  static Result<Door> open();
  const DoorName& name() const noexcept { return name_; }

  /// Waits until every rank in `expected` (ascending, without the leader) has come. The connections
  /// are kept for `hand_out`. Names the ranks that did not come in time.
  Result<std::vector<Hello>> receive(const std::vector<Rank>& expected, Nanos deadline);
  /// Gives the page's descriptor to everybody who came, and closes the door.
  Status hand_out(int page_fd);

 private:
  UniqueFd listener_;
  DoorName name_{};
  /// A connection and, once it has said hello, its rank.
  struct Guest {
    UniqueFd socket;
    std::optional<Rank> rank;
  };
  void accept_guest();
  std::optional<Hello> listen_to(Guest& guest, const std::vector<Rank>& expected);

  std::vector<Guest> guests_;
};

/// The others' side: knock, say hello, get the page.
Result<UniqueFd> knock(const DoorName& name, const Hello& hello, Nanos deadline);

/// By this a page's memory is recognised among a process's descriptors; it is no name to open.
inline constexpr const char* kMemoryName = "lockstep-page";

/// Sealed anonymous memory of `size` zero bytes: memfd, or unlinked POSIX shared memory.
Result<UniqueFd> make_memory(PageKind kind, std::size_t size);

/// Maps the whole of `fd` shared and writable.
Result<void*> map_memory(int fd, std::size_t size);

}  // namespace lockstep::node
