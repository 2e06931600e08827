// A poll is free while nothing is set: a million of them send nothing, and call no kernel.
#include <gtest/gtest.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>

#include "tests/job/the_session.hpp"

namespace {

constexpr int kPolls = 1'000'000;

/// Both kinds, and the first polls, which start whatever listens.
class FreePoll : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 10; ++i) ASSERT_FALSE(poll());
    session_.wait_for_everyone();
  }
  bool poll() { return session_.poll_trigger({.name = "step"}) || trigger_.poll(); }

  lockstep::Session& session_ = the_session();
  lockstep::Trigger trigger_ = session_.trigger("stop");
};

TEST_F(FreePoll, SendsNothing) {
  constexpr std::array kCounters = {"rounds", "frames_sent", "bytes_sent", "sleeps", "fences"};
  std::array<std::uint64_t, kCounters.size()> before{};
  for (std::size_t i = 0; i < before.size(); ++i) before[i] = session_.counter(kCounters[i]);
  for (int i = 0; i < kPolls; ++i) ASSERT_FALSE(poll());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(session_.counter(kCounters[i]) - before[i], 0u) << kCounters[i];
  }
  session_.wait_for_everyone();
}

#if defined(PR_SET_SYSCALL_USER_DISPATCH) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)

// Linux's own trap for the system calls of one thread, with a switch in memory. A seccomp filter
// would leave a thread that can never call again, and say so; tracing from outside needs rights
// that a container may not give.
volatile char trap = SYSCALL_DISPATCH_FILTER_ALLOW;
volatile int trapped = -1;  ///< number of the first call

void note_call(int, siginfo_t* info, void*) {
  trap = SYSCALL_DISPATCH_FILTER_ALLOW;  // this handler's own way back is a call
  trapped = info->si_syscall;
}

template <class Body>
int first_call_in(Body&& body) {
  trapped = -1;
  trap = SYSCALL_DISPATCH_FILTER_BLOCK;
  body();
  trap = SYSCALL_DISPATCH_FILTER_ALLOW;
  return trapped;
}

TEST_F(FreePoll, CallsNoKernel) {
  struct sigaction action {};
  action.sa_sigaction = note_call;
  action.sa_flags = SA_SIGINFO;
  ASSERT_EQ(sigaction(SIGSYS, &action, nullptr), 0);
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &trap) != 0) {
    GTEST_SKIP() << "needs Linux 5.11 on a processor that has system call user dispatch";
  }
  ASSERT_EQ(first_call_in([] { (void)getppid(); }), SYS_getppid) << "the trap does not work";
  bool has_fired = false;
  const int call = first_call_in([&] {
    for (int i = 0; i < kPolls; ++i) has_fired |= poll();
  });
  ASSERT_EQ(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0), 0);
  EXPECT_EQ(call, -1) << "number of a system call";
  EXPECT_FALSE(has_fired);
  session_.wait_for_everyone();
}

#endif

}  // namespace
