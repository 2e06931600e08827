// Programs that are asked for an answer: real ones.
#include "runtime/lifecycle/command.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <thread>

namespace lockstep::lifecycle {
namespace {

constexpr Nanos kLong = 60 * kSecond;

TEST(Command, ItsOutputAndExitCodeAreTheAnswer) {
  const auto good = ask({"echo", "a b", "c"}, Errors::dropped, kLong);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->output, "a b c\n");
  EXPECT_TRUE(good->is_good());
  const auto bad = ask({"sh", "-c", "echo out; echo err >&2; exit 3"}, Errors::dropped, kLong);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->output, "out\n");
  EXPECT_EQ(bad->exit_code, 3);
  const auto both = ask({"sh", "-c", "echo out; echo err >&2"}, Errors::in_output, kLong);
  ASSERT_TRUE(both);
  EXPECT_EQ(both->output, "out\nerr\n");
  const auto killed = ask({"sh", "-c", "kill -KILL $$"}, Errors::dropped, kLong);
  ASSERT_TRUE(killed);
  EXPECT_EQ(killed->exit_code, 128 + SIGKILL);
}

TEST(Command, ALongAnswerIsReadToItsEnd) {
  const auto answer = ask({"head", "-c", "1000000", "/dev/zero"}, Errors::dropped, kLong);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->output.size(), 1'000'000u);
}

TEST(Command, OneThatIsNotThereSaysSo) {
  const auto answer = ask({"lockstep-no-such-program"}, Errors::in_output, kLong);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->exit_code, 127);
  EXPECT_EQ(answer->output, "lockstep-no-such-program was not found");
}

TEST(Command, OneThatTakesTooLongIsKilled) {
  EXPECT_FALSE(ask({"sleep", "1000"}, Errors::dropped, 50 * kMillisecond));
  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  EXPECT_FALSE(ask({"sleep", "1000"}, Errors::dropped, kNever, stop.get_token()));
  stopper.join();
  errno = 0;
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
  EXPECT_EQ(errno, ECHILD);
}

TEST(Command, SignalsThatTheProgramBlocksOrIgnoresEndItsChildren) {
  sigset_t term;
  sigset_t before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, &before);
  const auto handler = std::signal(SIGTERM, SIG_IGN);
  const auto answer = ask({"sh", "-c", "kill -TERM $$; sleep 1000"}, Errors::dropped, kLong);
  std::signal(SIGTERM, handler);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->exit_code, 128 + SIGTERM);
}

TEST(Command, AProgramWhoseChildrenAreReapedForItIsAnsweredToo) {
  const auto handler = std::signal(SIGCHLD, SIG_IGN);
  const auto answer = ask({"echo", "x"}, Errors::dropped, kLong);
  std::signal(SIGCHLD, handler);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->output, "x\n");
  EXPECT_TRUE(answer->is_good());
}

}  // namespace
}  // namespace lockstep::lifecycle
