// Stream barriers above the fake plugin: GPUs that meet directly, through their hosts, or both; on
// one node and on several.
#include <gtest/gtest.h>

#include "lockstep/gpu.h"
#include "tests/support/command.hpp"

namespace {

using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

/// Which ranks meet directly.
struct Machine {
  std::string name;
  std::string gpus;  ///< FAKE_GPUS
};

struct Shape {
  int ranks;
  int nodes;
};

const Machine kTogether = {"together", "gpu A B C D; see * A B C D; reach A B C D"};
const Machine kPairs = {"pairs", "gpu A B C D; see * A B C D; reach A B; reach C D"};
const Machine kApart = {"apart", "gpu A B C D; see * A B C D"};
const Machine kShared = {"shared", "gpu A; see * A"};

struct Case {
  Machine machine;
  Shape shape;

  std::string name() const {
    return machine.name + "_" + std::to_string(shape.ranks) + "_ranks_" +
           std::to_string(shape.nodes) + "_nodes";
  }
};

void PrintTo(const Case& the, std::ostream* out) {
  *out << the.name();
}

Finished run_job(const Case& the, const std::string& what, const std::string& settings = "") {
  return run("LOCKSTEP_PLUGIN_PATH=" FAKE_FOLDER " LOCKSTEP_GPU_PLUGIN=fake_gpu FAKE_GPUS=\"" +
             the.machine.gpus + "\" LOCKSTEP_TIMEOUT=60s LOCKSTEP_GRACE=1s " + settings +
             " " LOCKSTEP_CLI " run --keep-going -n " + std::to_string(the.shape.ranks) +
             " --nodes " + std::to_string(the.shape.nodes) + " " BARRIER_JOB " " + what);
}

class StreamBarriers : public testing::TestWithParam<Case> {
 protected:
  static Finished job(const std::string& what, const std::string& settings = "") {
    return run_job(GetParam(), what, settings);
  }
  static void expect_on(const Finished& finished, int ranks, const std::string& text) {
    EXPECT_EQ(count(finished.output, text), static_cast<std::size_t>(ranks)) << text << "\n"
                                                                             << finished.output;
  }
  static void expect_on_all(const Finished& finished, const std::string& text) {
    EXPECT_EQ(finished.status, 0) << finished.output;
    expect_on(finished, GetParam().shape.ranks, text);
  }
};

TEST_P(StreamBarriers, NothingBehindOneIsBeforeAnythingInFront) {
  expect_on_all(job("order"), ": 0 too early, 200 over");
}

TEST_P(StreamBarriers, AGraphHasItsNextOnesWheneverItIsLaunched) {
  expect_on_all(job("graph"), ": 0 too early, 150 over");
}

TEST_P(StreamBarriers, WhatIsRaisedIsSeenByAllAfterTheSameOne) {
  expect_on_all(job("bits"), ": 0 wrong");
}

TEST_P(StreamBarriers, GroupsHaveTheirOwn) {
  expect_on_all(job("many"), ": 0 too early");
}

/// Where one of them may do what the others do not.
class StreamBarriersOfMany : public StreamBarriers {};

TEST_P(StreamBarriersOfMany, AFirstOneInACaptureIsAnErrorOnAll) {
  const Finished finished = job("captured");
  expect_on_all(finished, ": state: ");
  expect_on_all(finished, "lockstep_stream_barrier_prepare() before the capture");
  expect_on_all(finished, ": done");
  expect_on(finished, 0, "the capture is broken");
}

TEST_P(StreamBarriers, WrongCallsAreTold) {
  expect_on_all(job("mistakes"), ": done");
}

TEST_P(StreamBarriersOfMany, WhoDoesNotComeInTimeIsNamedAndNoStreamIsHeld) {
  const Finished finished = job("late");
  expect_on_all(finished, ": again 1");
  const std::string culprit = "rank " + std::to_string(GetParam().shape.ranks - 1) + " on n";
  EXPECT_GE(count(finished.output, ": deadline: stream_barrier: "), 1u) << finished.output;
  EXPECT_GE(count(finished.output, culprit), 1u) << finished.output;
  expect_on(finished, 0, "no failure");
  expect_on(finished, 0, "late itself");
}

/// And those who are left have barriers in a group of their own.
TEST_P(StreamBarriersOfMany, WhoIsKilledIsNamedAndTheOthersGoOn) {
  const Finished finished = job("kill");
  expect_on(finished, GetParam().shape.ranks - 1, ": lost: ");
  const std::string culprit = "rank " + std::to_string(GetParam().shape.ranks - 1) + " on n";
  EXPECT_GE(count(finished.output, culprit), 1u) << finished.output;
  expect_on(finished, 0, "late itself");
  expect_on(finished, GetParam().shape.ranks - 1, ": again 1");
}

/// Who is held by a full queue holds no other thread, which others may wait for.
TEST_P(StreamBarriersOfMany, ThreadsWithGroupsOfTheirOwnDoNotHoldEachOther) {
  const Finished finished = job("crosswise");
  expect_on(finished, 2 * GetParam().shape.ranks, ": 50 over");
  expect_on(finished, 0, "late itself");
}

/// Who enqueues is held by the driver then; and so is who waits for a stream, and has the plugin.
TEST_P(StreamBarriersOfMany, WhoIsKilledWhileQueuesAreFullIsNamedAndNoStreamIsHeld) {
  for (const char* const what : {"full", "full_wait"}) {
    const Finished finished = job(what);
    expect_on(finished, GetParam().shape.ranks - 1, ": lost: ");
    expect_on(finished, 0, "late itself");
  }
}

TEST_P(StreamBarriersOfMany, WhoLeavesIsNamedAndNoStreamIsHeld) {
  const Finished finished = job("leaves");
  // Members of its node see that it has left, others that it does not come.
  EXPECT_EQ(count(finished.output, ": lost: ") + count(finished.output, ": deadline: "),
            static_cast<std::size_t>(GetParam().shape.ranks - 1))
      << finished.output;
  const std::string culprit = "rank " + std::to_string(GetParam().shape.ranks - 1) + " on n";
  EXPECT_GE(count(finished.output, culprit), 1u) << finished.output;
  expect_on_all(finished, ": again 1");
  expect_on(finished, 0, "late itself");
}

const Case kMany[] = {
    {kTogether, {2, 1}}, {kTogether, {4, 1}}, {kTogether, {4, 2}}, {kPairs, {4, 1}},
    {kPairs, {8, 2}},    {kApart, {2, 2}},    {kApart, {4, 1}},    {kShared, {3, 1}},
};
const auto kName = [](const auto& the) { return the.param.name(); };

INSTANTIATE_TEST_SUITE_P(One, StreamBarriers, testing::Values(Case{kTogether, {1, 1}}), kName);
INSTANTIATE_TEST_SUITE_P(Many, StreamBarriers, testing::ValuesIn(kMany), kName);
INSTANTIATE_TEST_SUITE_P(Many, StreamBarriersOfMany, testing::ValuesIn(kMany), kName);

/// GPUs of one node that all reach each other, more than meet directly.
std::string many_gpus(int number) {
  std::string names;
  for (int i = 0; i < number; ++i) names += " G" + std::to_string(i);
  return "gpu" + names + "; see *" + names + "; reach" + names;
}

TEST(StreamBarriersOfLargeNodes, MeetInSeveralCircles) {
  constexpr int kRanks = LOCKSTEP_GPU_PEERS_MAX + 8;
  const Finished finished = run_job({{"many", many_gpus(kRanks)}, {kRanks, 1}}, "order");
  EXPECT_EQ(count(finished.output, ": 0 too early, 200 over"), static_cast<std::size_t>(kRanks))
      << finished.output;
}

TEST(StreamBarriersOfLargeJobs, HoldNoStreamWhenSomebodyIsKilled) {
  const Finished finished = run_job({{"eight", many_gpus(8)}, {64, 8}}, "kill");
  EXPECT_EQ(count(finished.output, ": lost: "), 63u) << finished.output;
  EXPECT_GE(count(finished.output, "rank 63 on n7"), 1u) << finished.output;
  EXPECT_EQ(count(finished.output, ": again 1"), 63u) << finished.output;
}

Finished run_on_two(const std::string& gpus, const std::string& what,
                    const std::string& settings = "") {
  return run_job({{"two", gpus}, {2, 1}}, what, settings);
}

TEST(StreamBarriersThatCannotBe, AreMetByHostsWhereGpusDoNotReachEachOtherAfterAll) {
  const Finished finished = run_on_two("gpu A B; see * A B; reach A B; unreachable 1", "order");
  EXPECT_EQ(count(finished.output, ": 0 too early, 200 over"), 2u) << finished.output;
  EXPECT_EQ(count(finished.output, "do not reach each other's GPUs after all"), 1u)
      << finished.output;
}

/// Memory that is not to be used is not tried, so that nobody complains of it.
TEST(StreamBarriersThatCannotBe, AreMetByHostsWhereTheSettingSaysSo) {
  const Finished finished =
      run_on_two("gpu A B; see * A B; reach A B; unreachable *", "order", "LOCKSTEP_GPU_PEERS=no");
  EXPECT_EQ(count(finished.output, ": 0 too early, 200 over"), 2u) << finished.output;
  EXPECT_EQ(count(finished.output, "do not reach"), 0u) << finished.output;
}

TEST(StreamBarriersThatCannotBe, AreAnErrorOnAllWhereSomebodysPluginHasNone) {
  const Finished finished = run_on_two("gpu A B; see * A B; reach A B; no_barriers 1", "order");
  EXPECT_EQ(count(finished.output, "stream_barrier_job: "), 2u) << finished.output;
  EXPECT_EQ(count(finished.output, "rank 1 on n0: "), 2u) << finished.output;
}

TEST(StreamBarriersThatCannotBe, AreAnErrorOnAllWhereSomebodyHasNoGpu) {
  const Finished finished = run_on_two("gpu A B; see 0 A B", "order");
  EXPECT_EQ(count(finished.output, "it needs a GPU on every rank; there is none for rank 1 on n0"),
            2u)
      << finished.output;
}

}  // namespace
