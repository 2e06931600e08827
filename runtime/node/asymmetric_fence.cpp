// membarrier(2), global and expedited: the one command that reaches other processes without waiting
// for all processors of the machine.
#include "runtime/node/asymmetric_fence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace lockstep::node {
namespace {

long membarrier(int command) noexcept {
  return syscall(SYS_membarrier, command, 0, 0);
}

}  // namespace

Barrier join_barrier() noexcept {
  constexpr long kNeeded =
      MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
  const long supported = membarrier(MEMBARRIER_CMD_QUERY);
  if (supported < 0 || (supported & kNeeded) != kNeeded) return Barrier::none;
  if (membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0) return Barrier::none;
  // A filter may look at the command: what is promised to others has been done once.
  return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0 ? Barrier::expedited : Barrier::none;
}

AsymmetricFence AsymmetricFence::agree(std::span<const Barrier> members) noexcept {
  return AsymmetricFence(std::all_of(members.begin(), members.end(), [](Barrier barrier) {
    return barrier == Barrier::expedited;
  }));
}

bool AsymmetricFence::heavy() const noexcept {
  // The caller's own store and load: the system call orders them on no architecture by promise.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!is_asymmetric_) return true;
  const bool is_done = membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return is_done;
}

}  // namespace lockstep::node
