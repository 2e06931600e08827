// What every rank sees when a job goes wrong: the same verdict, with the right names, in time.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/command.hpp"

namespace {

using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

struct Shape {
  int ranks;
  int nodes;
};

std::string job(Shape shape, const std::string& arguments, const std::string& options = "",
                const std::string& environment = "") {
  return environment + " LOCKSTEP_GRACE=2s " LOCKSTEP_CLI " run -n " + std::to_string(shape.ranks) +
         " --nodes " + std::to_string(shape.nodes) + " " + options + " " FAULT_JOB " " + arguments;
}

/// Lines of the ranks: how many, and how many match.
void expect_lines(const Finished& finished, std::size_t lines, const std::string& pattern) {
  std::istringstream stream(finished.output);
  std::size_t matching = 0;
  const std::regex wanted(pattern);
  for (std::string line; std::getline(stream, line);) {
    if (std::regex_search(line, wanted)) ++matching;
  }
  EXPECT_EQ(matching, lines) << "pattern: " << pattern << "\noutput:\n" << finished.output;
}

class Fault : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, Fault,
                         testing::Values(Shape{2, 1}, Shape{2, 2}, Shape{8, 1}, Shape{8, 4},
                                         Shape{7, 3}, Shape{16, 8}),
                         [](const auto& the) {
                           return std::to_string(the.param.ranks) + "_ranks_" +
                                  std::to_string(the.param.nodes) + "_nodes";
                         });

class FaultOfPolls : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, FaultOfPolls,
                         testing::Values(Shape{2, 2}, Shape{8, 1}, Shape{8, 4}),
                         [](const auto& the) {
                           return std::to_string(the.param.ranks) + "_ranks_" +
                                  std::to_string(the.param.nodes) + "_nodes";
                         });

TEST_P(Fault, ALateRankIsNamedToEverybodyAndToItself) {
  const Shape shape = GetParam();
  const std::string culprit = std::to_string(shape.ranks - 1);
  const Finished finished = run(job(shape, "late " + culprit));
  EXPECT_EQ(finished.status, 0) << finished.output;
  const std::string host = "n" + std::to_string(shape.nodes - 1);
  expect_lines(finished, static_cast<std::size_t>(2 * shape.ranks),
               "deadline missing " + culprit + ":.*1 of " + std::to_string(shape.ranks) +
                   " ranks was missing at the deadline: rank " + culprit + " on " + host);
  expect_lines(finished, static_cast<std::size_t>(shape.ranks),
               "'after': this group broke in an earlier call: 1 of");
}

TEST_P(Fault, ALateLeaderIsNamedToo) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "late 0"));
  expect_lines(finished, static_cast<std::size_t>(2 * shape.ranks),
               "deadline missing 0:.*rank 0 on n0");
}

TEST_P(Fault, EveryMissingRankIsNamed) {
  const Shape shape = GetParam();
  if (shape.ranks < 7) GTEST_SKIP() << "needs 7 ranks";
  const Finished finished = run(job(shape, "late 1,4,6"));
  expect_lines(finished, static_cast<std::size_t>(2 * shape.ranks), "deadline missing 1,4,6:");
}

TEST_P(Fault, SlowIsNotDead) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "slow 1"));
  expect_lines(finished, static_cast<std::size_t>(shape.ranks), ": ok$");
}

TEST_P(Fault, AJobThatWasStoppedAsAWholeGoesOn) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "suspend " + std::to_string(shape.ranks - 1)));
  expect_lines(finished, static_cast<std::size_t>(shape.ranks), ": ok$");
}

TEST_P(Fault, ABarrierAgainstATriggerCheckShowsBothSites) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "mismatch " + std::to_string(shape.ranks - 1)));
  expect_lines(finished, static_cast<std::size_t>(shape.ranks),
               "mismatch missing : .*fault_job.cpp:[0-9]+ wait_for_everyone .epoch end.*"
               "|mismatch missing : .*fault_job.cpp:[0-9]+ check_trigger .stop.*");
  expect_lines(finished, static_cast<std::size_t>(shape.ranks),
               "check_trigger .stop.*wait_for_everyone .epoch end|"
               "wait_for_everyone .epoch end.*check_trigger .stop");
}

TEST_P(Fault, DifferentNamesAreAMismatch) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "names 0"));
  expect_lines(finished, static_cast<std::size_t>(shape.ranks),
               "mismatch.*step 499.*step 500|mismatch.*step 500.*step 499");
}

TEST_P(Fault, ASectionLeftOutIsAMismatchAtTheNextRound) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "skip_section " + std::to_string(shape.ranks - 1)));
  expect_lines(finished, static_cast<std::size_t>(shape.ranks),
               "mismatch.*'epoch end' after [12] sections?, but .*'epoch end' after [12] section");
}

TEST_P(Fault, AForkOfARankIsNoRank) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "fork"));
  EXPECT_EQ(finished.status, 0) << finished.output;
  expect_lines(finished, static_cast<std::size_t>(shape.ranks), ": ok$");
}

TEST_P(Fault, ARankThatHasLeftIsNamed) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "leave " + std::to_string(shape.ranks - 1)));
  expect_lines(finished, static_cast<std::size_t>(shape.ranks - 1),
               "lost missing ([0-9]+,)*" + std::to_string(shape.ranks - 1) + ":");
}

TEST_P(Fault, AKilledRankIsNamedToTheSurvivors) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "die 1", "--keep-going"));
  EXPECT_EQ(finished.status, 137) << finished.output;
  expect_lines(finished, static_cast<std::size_t>(shape.ranks - 1),
               "(lost|deadline) missing 1(,[0-9]+)*:");
}

TEST_P(FaultOfPolls, ARankThatIsKilledInALoopOfPollsIsNamedWhereAllWouldHaveMet) {
  const Shape shape = GetParam();
  for (const int culprit : {0, shape.ranks / 2, shape.ranks - 1}) {
    const std::string name = std::to_string(culprit);
    const Finished finished = run(job(shape, "poll " + name, "--keep-going"));
    EXPECT_EQ(finished.status, 137) << finished.output;
    expect_lines(finished, static_cast<std::size_t>(shape.ranks - 1),
                 "(lost|deadline) missing ([0-9]+,)*" + name + "(,[0-9]+)*:");
  }
}

TEST_P(FaultOfPolls, ALossStopsAllThatAreLeftInTheSameStepIfAskedFor) {
  const Shape shape = GetParam();
  const std::string name = std::to_string(shape.ranks - 1);
  if (shape.ranks == shape.nodes) GTEST_SKIP() << "nobody is left on its node to notice";
  const Finished finished = run(job(shape, "poll_loss " + name, "--keep-going"), 60);
  EXPECT_EQ(finished.status, 137) << finished.output;
  const auto others = static_cast<std::size_t>(shape.ranks - 1);
  std::smatch first;
  const std::regex step("stops in step ([0-9]+) for rank " + name + ":");
  ASSERT_TRUE(std::regex_search(finished.output, first, step)) << finished.output;
  expect_lines(finished, others, "stops in step " + first.str(1) + " for rank " + name + ":");
  expect_lines(finished, others, ": lost missing " + name + ":");  // from then on it is an error
}

TEST_P(FaultOfPolls, WhoDoesNotPollIsNamedWithItsLastCall) {
  const Shape shape = GetParam();
  const std::string name = std::to_string(shape.ranks - 1);
  const Finished finished = run(job(shape, "no_poll " + name, "", "LOCKSTEP_REPORT=400ms"));
  EXPECT_EQ(finished.status, 0) << finished.output;
  expect_lines(finished, static_cast<std::size_t>(shape.ranks), ": ok$");
  const std::regex late("all are to meet in poll [0-9]+: .*rank " + name +
                        " has polled [0-9]+ times, last at .*wait_for_everyone 'evaluation'");
  EXPECT_TRUE(std::regex_search(finished.output, late)) << finished.output;
}

TEST_P(Fault, AFirstThatIsKilledDoesNotLookLikeSuccess) {
  const Shape shape = GetParam();
  const Finished finished = run(job(shape, "die_first", "--keep-going"));
  EXPECT_EQ(finished.status, 137) << finished.output;
  expect_lines(finished, static_cast<std::size_t>(shape.ranks - 1),
               "(lost|deadline) missing 0:.*rank 0 on n0");
}

TEST(Report, ALongWaitSaysWhoIsWaitedFor) {
  const Finished finished = run(job({8, 2}, "long_first", "", "LOCKSTEP_REPORT=400ms"));
  EXPECT_EQ(finished.status, 0);
  const std::string waits = "for rank 0 on n0 to finish its section";
  EXPECT_GE(count(finished.output, waits), 2u) << finished.output;
  // One voice per node.
  for (const char* const silent :
       {"rank 2 on", "rank 3 on", "rank 5 on", "rank 6 on", "rank 7 on"}) {
    EXPECT_EQ(count(finished.output, silent), 0u) << finished.output;
  }
  const Finished round = run(job({4, 2}, "slow 1", "", "LOCKSTEP_REPORT=300ms"));
  EXPECT_GE(count(round.output, "for rank 1 on n0"), 1u) << round.output;
}

TEST(Join, AProcessThatNeverJoinsIsAnErrorInTime) {
  for (const Shape shape : {Shape{3, 1}, Shape{4, 2}}) {
    const Finished finished = run(job(shape, "never_joins 1", "", "LOCKSTEP_JOIN_TIMEOUT=1s"), 30);
    EXPECT_EQ(finished.status, 1) << finished.output;
    EXPECT_NE(finished.output.find("LOCKSTEP_JOIN_TIMEOUT"), std::string::npos) << finished.output;
  }
}

TEST(Join, BadSettingsAreNamedWithTheirForm) {
  const Finished bad = run(job({2, 1}, "slow 1", "", "LOCKSTEP_TIMEOUT=soon"));
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(
      bad.output.find("LOCKSTEP_TIMEOUT=soon is not understood: expected a number and ns, us, ms"),
      std::string::npos)
      << bad.output;
  const Finished unknown = run(job({2, 1}, "slow 1", "", "LOCKSTEP_TIMEOT=5s"));
  EXPECT_EQ(unknown.status, 0) << unknown.output;
  EXPECT_EQ(count(unknown.output,
                  "LOCKSTEP_TIMEOT is not a setting of lockstep; did you mean LOCKSTEP_TIMEOUT?"),
            1u)
      << unknown.output;
  const Finished strange = run(job({2, 1}, "slow 1", "", "LOCKSTEP_WEATHER=fine"));
  EXPECT_EQ(
      count(strange.output, "LOCKSTEP_WEATHER is not a setting of lockstep; type: lockstep info"),
      1u)
      << strange.output;
}

TEST(Join, ARecordThatCannotBeWrittenIsSaidAtTheStart) {
  const Finished finished = run(job({2, 1}, "slow 1", "", "LOCKSTEP_RECORD=/nowhere/run.json"));
  EXPECT_EQ(count(finished.output,
                  "LOCKSTEP_RECORD=/nowhere/run.json: nothing can be written there: No such file"),
            1u)
      << finished.output;
  const Finished good = run(job({2, 1}, "slow 1", "", "LOCKSTEP_RECORD=run.json"));
  EXPECT_EQ(count(good.output, "nothing can be written"), 0u) << good.output;
  unlink("run.json");
}

TEST(Join, TheNodeWithTheLesserTransportIsNamed) {
  const Finished finished =
      run(LOCKSTEP_CLI
          " run --keep-going -n 2 --nodes 2 -- bash -c \"[ \\$PMIX_RANK = 0 ] || export "
          "LOCKSTEP_TRANSPORT=pmix_fence; exec " FAULT_JOB " slow 9\"");
  EXPECT_EQ(finished.status, 1);
  EXPECT_EQ(count(finished.output, "type LOCKSTEP_TRANSPORT=pmix_fence, or repair n1 "), 2u)
      << finished.output;
}

TEST(Join, APreferenceThatCannotBeHadIsSaidOnce) {
  const Finished finished = run(job({4, 2}, "slow 1", "", "LOCKSTEP_INTERFACE=nosuch0"));
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_EQ(count(finished.output, "transport pmix_fence instead: "), 1u) << finished.output;
  EXPECT_NE(finished.output.find("nosuch0"), std::string::npos) << finished.output;
}

TEST(Join, AMissingPluginSaysWhereItWasLookedFor) {
  const Finished finished = run(job({2, 2}, "slow 1", "", "LOCKSTEP_TRANSPORT=pigeon"));
  EXPECT_EQ(finished.status, 1);
  EXPECT_NE(finished.output.find("no plugin lockstep_pigeon.so in "), std::string::npos)
      << finished.output;
}

TEST(Join, OneOfManyWithoutPmixRefusesAndSaysWhatToType) {
  const Finished finished =
      run("SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4 SLURM_STEP_ID=0 " FAULT_JOB " slow 1");
  EXPECT_EQ(finished.status, 1);
  EXPECT_NE(finished.output.find("rank 0 of 4"), std::string::npos) << finished.output;
  EXPECT_NE(finished.output.find("srun --mpi=pmix"), std::string::npos) << finished.output;
  const Finished torch = run("RANK=0 WORLD_SIZE=2 " FAULT_JOB " slow 1");
  EXPECT_EQ(torch.status, 1) << torch.output;
  const Finished forced = run("RANK=0 WORLD_SIZE=2 LOCKSTEP_BOOTSTRAP=single " FAULT_JOB " slow 1");
  EXPECT_EQ(forced.status, 0) << forced.output;
}

TEST(Join, AContradictionIsLoud) {
  const Finished finished = run(job({2, 1}, "slow 1", "--env RANK=0 --env WORLD_SIZE=8"));
  EXPECT_EQ(finished.status, 1);
  EXPECT_NE(finished.output.find("WORLD_SIZE=8"), std::string::npos) << finished.output;
}

TEST(Leftovers, KillingAllRanksAtAnyMomentLeavesNothing) {
  std::string folder = testing::TempDir() + "lockstep-leftovers-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string names = "ls -A /dev/shm | grep -E 'lockstep|ucx' | sort; ls -A " + folder;
  const std::string before = run(names).output;
  for (int i = 0; i < 15; ++i) {
    const std::string delay = "0." + std::to_string(i / 10) + std::to_string(i % 10 + 1);
    const Finished finished =
        run("TMPDIR=" + folder +
            " LOCKSTEP_TIMEOUT=never " LOCKSTEP_CLI
            " run -n 8 --nodes 2 --env MARK_OF_TEST=leftovers " FAULT_JOB " slow 1 & sleep " +
            delay + "; pkill -KILL -P $(pgrep -d, -P $!) ; wait $!");
    EXPECT_NE(finished.status, 124) << "a killed job hangs\n" << finished.output;
  }
  EXPECT_EQ(run(names).output, before);
  EXPECT_EQ(run("grep -lsz MARK_OF_TEST=leftovers /proc/[0-9]*/environ | wc -l").output, "0\n");
  rmdir(folder.c_str());
}

}  // namespace
