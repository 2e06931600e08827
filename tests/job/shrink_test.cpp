// Ranks are lost, and those who are left go on: all of them, together, whoever dies when.
// LOCKSTEP_SOAK=N in the environment: N times as many random deaths.
#include <gtest/gtest.h>

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

Finished shrink(Shape shape, const std::string& arguments, const std::string& environment = "") {
  return run(environment +
             " LOCKSTEP_TIMEOUT=30s LOCKSTEP_GRACE=1s " LOCKSTEP_CLI " run --keep-going -n " +
             std::to_string(shape.ranks) + " --nodes " + std::to_string(shape.nodes) +
             " " SHRINK_JOB " " + arguments);
}

std::size_t lines(const Finished& finished, const std::string& pattern) {
  std::istringstream stream(finished.output);
  const std::regex wanted(pattern);
  std::size_t matching = 0;
  for (std::string line; std::getline(stream, line);) {
    if (std::regex_search(line, wanted)) ++matching;
  }
  return matching;
}

/// So many ranks say that they go on, all with the same ones.
void expect_left(const Finished& finished, int left) {
  std::set<std::string> groups;
  std::istringstream stream(finished.output);
  std::smatch found;
  int told = 0;
  for (std::string line; std::getline(stream, line);) {
    if (!std::regex_search(line, found, std::regex("rank [0-9]+ goes on with (.*)"))) continue;
    groups.insert(found[1]);
    ++told;
  }
  EXPECT_NE(finished.status, 124) << "somebody hangs\n" << finished.output;
  EXPECT_EQ(told, left) << finished.output;
  ASSERT_EQ(groups.size(), 1u) << finished.output;
  EXPECT_EQ(count(*groups.begin(), ","), static_cast<std::size_t>(left - 1)) << finished.output;
  EXPECT_EQ(lines(finished, "shrink_job: "), 0u) << finished.output;
}

int rounds(int usual) {
  const char* const soak = std::getenv("LOCKSTEP_SOAK");
  return usual *
         (soak != nullptr ? std::max(1, static_cast<int>(std::strtol(soak, nullptr, 10))) : 1);
}

std::string name_of(const testing::TestParamInfo<Shape>& the) {
  return std::to_string(the.param.ranks) + "_ranks_" + std::to_string(the.param.nodes) + "_nodes";
}

class Shrink : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, Shrink,
                         testing::Values(Shape{2, 1}, Shape{2, 2}, Shape{8, 1}, Shape{8, 4},
                                         Shape{7, 3}, Shape{16, 8}),
                         name_of);

TEST_P(Shrink, WhoeverIsKilledTheOthersGoOnTogether) {
  const Shape shape = GetParam();
  for (int seed = 1; seed <= rounds(3); ++seed) {
    const int victims = 1 + seed % std::min(shape.ranks - 1, 4);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", victims " + std::to_string(victims));
    const Finished finished =
        shrink(shape, "kills " + std::to_string(seed) + " " + std::to_string(victims));
    expect_left(finished, shape.ranks - victims);
    if (HasFailure()) break;
  }
}

TEST_P(Shrink, WhoLeavesIsLeftBehind) {
  const Shape shape = GetParam();
  expect_left(shrink(shape, "leave"), shape.ranks - 1);
}

TEST_P(Shrink, OneCanBeLeftAlone) {
  expect_left(shrink(GetParam(), "alone"), 1);
}

TEST_P(Shrink, WhereNobodyIsLostAllAreInItAndTheOldGroupGoesOn) {
  const Shape shape = GetParam();
  expect_left(shrink(shape, "whole"), shape.ranks);
}

TEST_P(Shrink, TheNextGoesFirstWhenAFirstIsKilledInItsSection) {
  const Shape shape = GetParam();
  const Finished finished = shrink(shape, "sections");
  expect_left(finished, shape.ranks - 1);
  EXPECT_EQ(lines(finished, "rank 1 goes first"), 1u) << finished.output;
}

class ShrinkWithoutOne : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, ShrinkWithoutOne,
                         testing::Values(Shape{4, 1}, Shape{4, 2}, Shape{4, 4}), name_of);

TEST_P(ShrinkWithoutOne, WhoComesTooLateIsToldAndStaysOut) {
  const Shape shape = GetParam();
  const Finished finished = shrink(shape, "late");
  expect_left(finished, shape.ranks - 1);
  EXPECT_EQ(lines(finished, "rank 3 is out: lost: .* came too late, and the others go on without"),
            1u)
      << finished.output;
  EXPECT_EQ(lines(finished, "rank 3 is still out: .* came too late"), 1u) << finished.output;
}

TEST_P(ShrinkWithoutOne, WhoStandsStillIsLeftOutEvenIfItSpeaksForItsNode) {
  const Shape shape = GetParam();
  const Finished finished = shrink(shape, "stopped");
  expect_left(finished, shape.ranks - 1);
  EXPECT_EQ(lines(finished, "rank 3 is out: "), 1u) << finished.output;
}

TEST(ShrinkCalls, MistakesAreToldApart) {
  const Finished finished = shrink({1, 1}, "mistakes");
  EXPECT_EQ(lines(finished, "rank 0 invalid"), 3u) << finished.output;
  EXPECT_EQ(lines(finished, "rank 0 busy"), 1u) << finished.output;
  expect_left(finished, 1);
}

TEST(ShrinkCalls, ATransportWithoutFramesIsToldSo) {
  const Finished finished = shrink({2, 2}, "whole", "LOCKSTEP_TRANSPORT=pmix_fence");
  EXPECT_EQ(lines(finished, "shrink_job: .*shrink: .*type LOCKSTEP_TRANSPORT=ucx"), 2u)
      << finished.output;
}

TEST(ShrinkCalls, SixtyFourRanksOnEightNodesLoseFour) {
  const Finished finished = shrink({64, 8}, "kills 7 4");
  expect_left(finished, 60);
}

}  // namespace
