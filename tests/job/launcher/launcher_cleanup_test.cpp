// Proves that no process and no file outlives a job, whichever single process is killed, and when.
// when.
#include "tests/job/launcher/command_runner.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <random>

namespace lockstep::test {
namespace {

// Ranks that ignore SIGTERM, and each with a grandchild that has left their session.
Words tough_job(const Words& options) {
  Words words = lockstep_run({"-n", "4", "--nodes", "2"});
  words.insert(words.end(), options.begin(), options.end());
  const Words program = {"sh", "-c", "trap '' TERM; setsid sleep 1000 & echo up; wait; wait"};
  words.insert(words.end(), program.begin(), program.end());
  return words;
}

void wait_until_up(Command& command) {
  command.wait_for_output("up\nup\nup\nup\n");
}

TEST(LauncherCleanup, OrphansOfFinishedRanksAreEnded) {
  EXPECT_EQ(run(probe({"-n", "4", "--nodes", "2"}, {"orphan"})).exit_code, 0);
}

// A shell that becomes the launcher by exec hands it children that are none of its business.
TEST(LauncherCleanup, ChildrenFromBeforeTheStartAreSpared) {
  const Result result =
      run({"sh", "-c",
           std::string("(sleep 0.3; echo spared) & exec ") + LOCKSTEP_COMMAND + " run -n 2 true"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "spared\n");
}

TEST(LauncherCleanup, KilledLauncherLeavesNothing) {
  Command command(tough_job({}));
  wait_until_up(command);
  kill(command.pid(), SIGKILL);
  EXPECT_EQ(command.wait().exit_code, 128 + SIGKILL);
  command.expect_nothing_left();
}

TEST(LauncherCleanup, KilledServerLeavesNothingAndIsReported) {
  Command command(tough_job({"--grace", "0.1"}));
  wait_until_up(command);
  const std::vector<pid_t> servers = command.children_of(command.pid());
  ASSERT_EQ(servers.size(), 2u);
  kill(servers[1], SIGKILL);
  const Result result = command.wait();
  EXPECT_EQ(result.exit_code, 128 + SIGKILL);
  EXPECT_NE(result.err.find(fmt::format("the server of n1 (pid {}) was killed by signal 9 (Killed) "
                                        "and its 2 ranks with it; ending the other 2 ranks",
                                        servers[1])),
            std::string::npos)
      << result.err;
  command.expect_nothing_left();
}

TEST(LauncherCleanup, KilledRankLeavesNothing) {
  Command command(tough_job({"--grace", "0.1"}));
  wait_until_up(command);
  const std::vector<pid_t> servers = command.children_of(command.pid());
  ASSERT_EQ(servers.size(), 2u);
  kill(command.children_of(servers[0]).front(), SIGKILL);
  EXPECT_EQ(command.wait().exit_code, 128 + SIGKILL);
  command.expect_nothing_left();
}

// Any process of the job, at any moment of its life, start and end included.
TEST(LauncherCleanup, SigkillAtARandomMomentLeavesNothing) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 25; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    const bool is_busy = round % 2 == 0;
    Command command(is_busy ? probe({"-n", "6", "--nodes", "3"}, {"keys", "2,2,2", "block"})
                            : tough_job({"--grace", "0.1"}));
    usleep(std::uniform_int_distribution<unsigned>(0, 150'000)(random));
    const std::vector<pid_t> processes = command.processes();
    if (!processes.empty()) {
      const std::size_t last = processes.size() - 1;
      kill(processes[std::uniform_int_distribution<std::size_t>(0, last)(random)], SIGKILL);
    }
    // The victim may have been a mere grandchild, whose death is no reason to end.
    kill(command.pid(), SIGTERM);
    command.wait();
    command.expect_nothing_left();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace lockstep::test
