// Handlers, in this process and in a forked child.
#include "runtime/lifecycle/signals.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace lockstep::lifecycle {
namespace {

volatile std::sig_atomic_t calls_of_earlier = 0;

class Signals : public testing::Test {
 protected:
  void TearDown() override { release_signals(); }
};

TEST_F(Signals, AreWrittenDownOnceAndForgotten) {
  ASSERT_TRUE(catch_signal(SIGUSR1).ok());
  ASSERT_TRUE(catch_signal(SIGUSR1).ok());
  EXPECT_EQ(take_signal(), std::nullopt);
  raise(SIGUSR1);
  raise(SIGUSR1);
  EXPECT_EQ(take_signal(), SIGUSR1);
  EXPECT_EQ(take_signal(), std::nullopt);
}

TEST_F(Signals, TheOneThatIsFollowedByAKillComesFirst) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGCONT}) ASSERT_TRUE(catch_signal(signal).ok());
  for (const int signal : {SIGUSR1, SIGCONT, SIGTERM}) raise(signal);
  EXPECT_EQ(take_signal(), SIGTERM);
  raise(SIGCONT);
  raise(SIGUSR1);
  EXPECT_EQ(take_signal(), SIGUSR1);
  raise(SIGCONT);
  EXPECT_EQ(take_signal(), SIGCONT);
}

TEST_F(Signals, OneCanBeTakenOutOfSeveral) {
  for (const int signal : {SIGUSR1, SIGTERM}) ASSERT_TRUE(catch_signal(signal).ok());
  EXPECT_FALSE(take_this_signal(SIGTERM));
  for (const int signal : {SIGUSR1, SIGTERM}) raise(signal);
  EXPECT_TRUE(take_this_signal(SIGTERM));
  EXPECT_FALSE(take_this_signal(SIGTERM));
  EXPECT_EQ(take_signal(), SIGUSR1);
}

TEST_F(Signals, AnEarlierHandlerIsCalledAndPutBack) {
  std::signal(SIGUSR2, [](int) { calls_of_earlier = calls_of_earlier + 1; });
  ASSERT_TRUE(catch_signal(SIGUSR2).ok());
  raise(SIGUSR2);
  EXPECT_EQ(calls_of_earlier, 1);
  EXPECT_EQ(take_signal(), SIGUSR2);
  release_signals();
  raise(SIGUSR2);
  EXPECT_EQ(calls_of_earlier, 2);
  EXPECT_EQ(take_signal(), std::nullopt);
  std::signal(SIGUSR2, SIG_DFL);
}

TEST_F(Signals, ALaterHandlerIsLeftAlone) {
  ASSERT_TRUE(catch_signal(SIGUSR2).ok());
  std::signal(SIGUSR2, SIG_IGN);
  release_signals();
  EXPECT_EQ(std::signal(SIGUSR2, SIG_DFL), SIG_IGN);
}

TEST_F(Signals, AForkedChildDiesOfItAsIfNothingWere) {
  ASSERT_TRUE(catch_signal(SIGTERM).ok());
  const pid_t child = fork();
  if (child == 0) {
    raise(SIGTERM);
    _exit(7);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  EXPECT_EQ(take_signal(), std::nullopt);
}

TEST_F(Signals, ThatReportFaultsOrCannotBeCaughtAreRefused) {
  for (const int signal :
       {SIGKILL, SIGSTOP, SIGSEGV, SIGFPE, SIGCHLD, SIGTTIN, SIGPIPE, 0, -1, 99}) {
    const Status status = catch_signal(signal);
    EXPECT_TRUE(status.is(LOCKSTEP_E_INVALID)) << signal;
    EXPECT_NE(status.text().find("SIGUSR1"), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep::lifecycle
