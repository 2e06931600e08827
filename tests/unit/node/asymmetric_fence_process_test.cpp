// The fence between processes that share memory, and in a process that may not ask for it.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <new>

#include "tests/unit/node/litmus.hpp"
#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

int status_of(pid_t child) {
  int status = -1;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(AsymmetricFence, ReachesAnotherProcess) {
  auto* litmus = new (shared_memory(sizeof(Litmus))) Litmus;
  auto* said = new (shared_memory(sizeof(std::atomic<Barrier>))) std::atomic<Barrier>;
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const Barrier barrier = join_barrier();
    said->store(barrier, std::memory_order_release);
    // As the parent: it has said that it can, or this test is over.
    if (barrier == Barrier::expedited)
      poll_until_held(*litmus, AsymmetricFence::agree(std::array{barrier}));
    _exit(0);
  }
  alarm(120);
  Barrier other = Barrier::unknown;
  while (other == Barrier::unknown) other = said->load(std::memory_order_acquire);
  const std::array members{join_barrier(), other};
  const AsymmetricFence fence = AsymmetricFence::agree(members);
  if (fence.is_asymmetric()) {
    std::uint64_t refusals = 0;
    const std::uint64_t misses = hold_and_count_misses(*litmus, kSecond, [&] {
      if (!fence.heavy()) ++refusals;
    });
    EXPECT_EQ(misses, 0u) << "holds that missed a poll that missed them";
    EXPECT_EQ(refusals, 0u);
  }
  litmus->held.value.store(Litmus::kEnd);
  EXPECT_EQ(status_of(child), 0);
  alarm(0);
  if (!fence.is_asymmetric()) GTEST_SKIP() << "membarrier(2) is refused here";
}

/// From now on the kernel refuses this process membarrier(2), as containers may.
bool refuse_membarrier() {
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                           .filter = filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(AsymmetricFence, IsLeftToEveryoneWhereOneIsRefused) {
  const pid_t child = fork();
  if (child == 0) {
    if (!refuse_membarrier()) _exit(2);
    const Barrier barrier = join_barrier();
    const AsymmetricFence fence = AsymmetricFence::agree(std::array{Barrier::expedited, barrier});
    const bool is_right = barrier == Barrier::none && !fence.is_asymmetric() && fence.heavy();
    _exit(is_right ? 0 : 1);
  }
  const int status = status_of(child);
  if (status == 2) GTEST_SKIP() << "seccomp is not available here";
  EXPECT_EQ(status, 0);
}

TEST(AsymmetricFence, SaysSoWhenTheKernelTakesItBack) {
  const pid_t child = fork();
  if (child == 0) {
    const Barrier barrier = join_barrier();
    const AsymmetricFence fence = AsymmetricFence::agree(std::array{barrier});
    if (!fence.is_asymmetric() || !refuse_membarrier()) _exit(2);
    _exit(fence.heavy() ? 1 : 0);
  }
  const int status = status_of(child);
  if (status == 2) GTEST_SKIP() << "membarrier(2) or seccomp is not available here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace lockstep::node
