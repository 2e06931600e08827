// What a job says when it leaves about triggers that nobody heard of, and about polls out of step.
#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
#include <string>

#include "tests/support/command.hpp"

namespace {

using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

constexpr const char* kShapes[] = {"-n 8 --nodes 1", "-n 8 --nodes 2", "-n 8 --nodes 4"};

Finished job(const std::string& shape, const std::string& mode,
             const std::string& environment = "") {
  return run("env " + environment + " " LOCKSTEP_CLI " run " + shape + " " LEAVE_JOB " " + mode);
}

void expect_line(const Finished& finished, const std::string& pattern) {
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_TRUE(std::regex_search(finished.output, std::regex(pattern))) << finished.output;
}

TEST(Leave, NamesTheTriggerThatWasSetAndNeverChecked) {
  for (const char* const mode : {"set", "due"}) {
    SCOPED_TRACE(mode);
    const Finished finished = job("-n 8 --nodes 4", mode);
    expect_line(finished,
                "rank 7 on n3: trigger 'late' was set at leave_job.cpp:[0-9]+ \\(loss is not "
                "finite\\), and nobody checked or polled it any more\n");
    EXPECT_EQ(count(finished.output, "any more"), 1u) << finished.output;
  }
  const Finished alone = job("-n 1", "set");
  expect_line(alone, "trigger 'late' was set at .*, and nobody checked or polled it any more\n");
}

TEST(Leave, NamesTheSignalThatNobodyCheckedFor) {
  const Finished finished = job("-n 2 --nodes 2", "signal");
  expect_line(finished,
              "rank 1 on n1: the trigger without a name was set \\(SIGUSR1\\), and nobody checked");
  EXPECT_EQ(count(finished.output, "any more"), 1u) << finished.output;
}

TEST(Leave, SaysNothingOfWhatWasToldNorOfASignalThatCameTwice) {
  const Finished finished = job("-n 8 --nodes 2", "told");
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_EQ(finished.output, "");
}

TEST(Leave, ComparesThePollsOfANode) {
  for (const char* const shape : kShapes) {
    SCOPED_TRACE(shape);
    const Finished odd = job(shape, "polls 120");
    expect_line(odd, "ranks polled unequally often: rank 3 120 times, the others? 1000; ");
    EXPECT_EQ(count(odd.output, "unequally"), 1u) << odd.output;
    const Finished even = job(shape, "polls 1000");
    EXPECT_EQ(even.status, 0);
    EXPECT_EQ(even.output, "");
  }
}

TEST(TriggerFile, SetsTheTriggerWithoutANameOrWhatStandsInForIt) {
  std::string folder = testing::TempDir() + "lockstep-leave-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  for (const std::string mode : {"touched", "clean"}) {
    const std::string path = folder + "/" + mode;
    const Finished finished = job("-n 8 --nodes 2", mode, "LOCKSTEP_TRIGGER_FILE=" + path);
    EXPECT_EQ(finished.status, 0) << finished.output;
    EXPECT_EQ(count(finished.output, "the file " + path + " was touched\n"), 8u) << finished.output;
  }
  run("rm -rf " + folder);
}

}  // namespace
