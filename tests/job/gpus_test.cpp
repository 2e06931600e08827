// GPU groups of whole jobs, as each rank finds them on machines that a fake plugin describes; and
// what `lockstep topo` and `info` say of them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/command.hpp"

namespace {

using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;
using Json = nlohmann::json;

struct Shape {
  int ranks;
  int nodes;
};

/// @param machine  In the words of tests/support/fake_gpu.
std::string with(const std::string& machine, const std::string& settings = "") {
  return "LOCKSTEP_PLUGIN_PATH=" FAKE_FOLDER " LOCKSTEP_GPU_PLUGIN=fake_gpu FAKE_GPUS=\"" +
         machine + "\" LOCKSTEP_TIMEOUT=30s " + settings + " ";
}

std::string launch(const Shape& shape) {
  return LOCKSTEP_CLI " run -n " + std::to_string(shape.ranks) + " --nodes " +
         std::to_string(shape.nodes) + " ";
}

Finished job(const Shape& shape, const std::string& machine, const std::string& settings = "",
             const std::string& what = "") {
  return run(with(machine, settings) + launch(shape) + GPU_JOB " " + what);
}

/// Every rank says that it is in the group of that text; by rank.
void expect_groups(const Finished& finished, const std::vector<std::string>& groups, int number) {
  EXPECT_EQ(finished.status, 0) << finished.output;
  for (std::size_t rank = 0; rank < groups.size(); ++rank) {
    const std::string line = "rank " + std::to_string(rank) + ": " + std::to_string(number) +
                             " groups, here " + groups[rank] + ".";
    EXPECT_EQ(count(finished.output, line), 1u) << line << "\n" << finished.output;
  }
}

/// Every rank has the same error, and it says that.
void expect_error(const Finished& finished, int ranks, const std::string& status,
                  const std::vector<std::string>& parts) {
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_EQ(count(finished.output, ": " + status + ": "), static_cast<std::size_t>(ranks))
      << finished.output;
  for (const std::string& part : parts) {
    EXPECT_EQ(count(finished.output, part), static_cast<std::size_t>(ranks)) << part << "\n"
                                                                             << finished.output;
  }
}

constexpr const char* kFour = "gpu A B C D; see * A B C D; reach A B C D";
const std::vector<std::string> kAllOfEight(8, "0 1 2 3 4 5 6 7");

TEST(GpuJobs, ThoseOfANodeAreAGroup) {
  expect_groups(job({1, 1}, kFour), {"0"}, 1);
  expect_groups(job({2, 1}, kFour), {"0 1", "0 1"}, 1);
  expect_groups(job({4, 2}, "gpu A B C D; see 0-1 A B; see 2-3 C D; reach A B; reach C D"),
                {"0 1", "0 1", "2 3", "2 3"}, 2);
}

TEST(GpuJobs, EightRanksOnAsManyGpusAndOnFourNodes) {
  expect_groups(job({8, 1}, "gpu A B C D E F G H; see * A B C D E F G H; reach A B C D E F G H"),
                kAllOfEight, 1);
  expect_groups(job({8, 4}, "gpu A B; see * A B; reach A B"),
                {"0 1", "0 1", "2 3", "2 3", "4 5", "4 5", "6 7", "6 7"}, 4);
}

TEST(GpuJobs, TwoCliquesOfANodeAreTwoGroups) {
  expect_groups(job({4, 1}, "gpu A B C D; see * A B C D; reach A C; reach B D"),
                {"0 2", "1 3", "0 2", "1 3"}, 2);
}

TEST(GpuJobs, EachMaySeeItsOwnOnlyIfItIsToldOfTheOthers) {
  // As with CUDA_VISIBLE_DEVICES: every process calls its own 0.
  expect_groups(job({4, 1}, "gpu A B C D; see 0 A; see 1 B; see 2 C; see 3 D; reach A B C D"),
                {"0 1 2 3", "0 1 2 3", "0 1 2 3", "0 1 2 3"}, 1);
}

TEST(GpuJobs, WhatIsHiddenIsApartWithOneWarningForEachNode) {
  const Finished hidden = job({4, 2},
                              "gpu A B C D; see 0 A; see 1 B; see 2 C; see 3 D; reach A B; "
                              "reach C D; blind *");
  expect_groups(hidden, {"0", "1", "2", "3"}, 4);
  EXPECT_EQ(count(hidden.output, "cannot be told"), 2u) << hidden.output;
  EXPECT_EQ(count(hidden.output, "the GPUs of rank 0 on n0, rank 1 on n0 reach"), 1u);
  EXPECT_EQ(count(hidden.output, "the GPUs of rank 2 on n1, rank 3 on n1 reach"), 1u);
  EXPECT_EQ(count(hidden.output, "--gpus-per-node=N --gpu-bind=none"), 2u);
}

TEST(GpuJobs, OneWhoCannotTellIsEnough) {
  const Finished half = job({2, 1}, "gpu A B; see 0 A B; see 1 B; current 0 0; reach A B; blind 1");
  expect_groups(half, {"0", "1"}, 2);
  EXPECT_EQ(count(half.output, "cannot be told"), 1u) << half.output;
}

TEST(GpuJobs, TwoRanksOnOneGpuAreTogether) {
  expect_groups(job({4, 1}, "gpu A B; see * A B"), {"0 2", "1 3", "0 2", "1 3"}, 2);
}

TEST(GpuJobs, InstancesReachNobody) {
  expect_groups(job({3, 1}, "mig A B; gpu C; see 0 A; see 1 B; see 2 C; reach A B C"),
                {"0", "1", "2"}, 3);
}

TEST(GpuJobs, AFabricJoinsNodes) {
  const std::string nodes = "gpu A B C D; see 0-1 A B; see 2-3 C D; reach A B; reach C D; ";
  expect_groups(job({4, 2}, nodes + "fabric 7 1 A B C D"),
                {"0 1 2 3", "0 1 2 3", "0 1 2 3", "0 1 2 3"}, 1);
  expect_groups(job({4, 2}, nodes + "fabric 7 1 A B; fabric 7 2 C D"), {"0 1", "0 1", "2 3", "2 3"},
                2);
}

TEST(GpuJobs, TheSettingAndTheContextDecide) {
  const std::string pairs = "gpu A B C D; see * A B C D; reach A B; reach C D; ";
  expect_groups(job({2, 1}, pairs, "LOCKSTEP_GPU=3"), {"0 1", "0 1"}, 1);
  expect_groups(job({2, 1}, pairs + "current 0 0; current 1 2"), {"0", "1"}, 2);
  expect_groups(job({2, 1}, pairs + "current 0 0; current 1 2",
                    "LOCKSTEP_GPU=GPU-44000000-0000-0000-0000-000000000000"),
                {"0 1", "0 1"}, 1);
}

TEST(GpuJobs, TheAnswerIsKept) {
  const Finished finished = job({4, 1}, "gpu A B; see * A B", "", "again");
  EXPECT_EQ(count(finished.output, "again: 0 rounds, the same."), 4u) << finished.output;
}

TEST(GpuJobs, APartOfAJobHasGroupsOfItsOwn) {
  const Finished half =
      job({4, 1}, "gpu A B C D; see * A B C D; reach A C; no_driver 1; no_driver 3", "", "half");
  EXPECT_EQ(count(half.output, ": 1 groups, here 0 2."), 2u) << half.output;
  EXPECT_EQ(count(half.output, "there is none for rank 1 on n0, rank 3 on n0"), 2u) << half.output;
}

TEST(GpuJobs, ScriptsHaveThemToo) {
  const Finished finished =
      run(with("gpu A B C D; see * A B C D; reach A C; reach B D") + launch({4, 1}) +
          "-- " LOCKSTEP_CLI " once --scope gpu-group -- bash -c \"echo from \\$PMIX_RANK\"");
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_EQ(count(finished.output, "from 0"), 2u) << finished.output;
  EXPECT_EQ(count(finished.output, "from 1"), 2u) << finished.output;
}

TEST(GpuJobs, ARankWithoutOneIsNamedOnAll) {
  expect_error(job({4, 2}, std::string(kFour) + "; no_driver 1; see 3"), 4, "unsupported",
               {"there is none for rank 1 on n0, rank 3 on n1; rank 1 on n0: no fake driver here"});
  expect_error(job({2, 1}, kFour, "LOCKSTEP_GPU=none"), 2, "unsupported",
               {"rank 0 on n0, rank 1 on n0; rank 0 on n0: LOCKSTEP_GPU=none"});
}

TEST(GpuJobs, WithoutThePluginItIsSaidWhereItWasLookedFor) {
  expect_error(run("LOCKSTEP_GPU_PLUGIN=nosuch LOCKSTEP_TIMEOUT=30s " + launch({2, 1}) + GPU_JOB),
               2, "unsupported", {"no plugin lockstep_nosuch.so in ", "LOCKSTEP_PLUGIN_PATH"});
}

TEST(GpuJobs, AWrongSettingOfOneRankIsToldToAll) {
  const std::string one =
      "bash -c \"if [ \\$PMIX_RANK = 2 ]; then export LOCKSTEP_GPU=7; fi; exec " GPU_JOB "\"";
  expect_error(run(with(kFour) + launch({4, 2}) + one), 4, "invalid",
               {"rank 2 on n1: LOCKSTEP_GPU=7 is too much: this process sees 4 GPUs"});
}

TEST(GpuJobs, ASlowDriverOfOneIsWaitedFor) {
  expect_groups(job({2, 1}, std::string(kFour) + "; slow 1 700", "LOCKSTEP_TIMEOUT=500ms"),
                {"0 1", "0 1"}, 1);
}

Json topology(const Shape& shape, const std::string& machine) {
  const Finished finished =
      run(with(machine, "LOCKSTEP_LOG=off") + launch(shape) + LOCKSTEP_CLI " topo --json");
  EXPECT_EQ(finished.status, 0) << finished.output;
  return Json::parse(finished.output, nullptr, false);
}

TEST(GpuViews, TopoShowsEachRanksGpuAndTheGroups) {
  const Json json = topology({3, 1}, "gpu A B; see * A B; current 1 0");
  ASSERT_TRUE(json.is_object());
  ASSERT_EQ(json.at("gpus").size(), 3u);
  EXPECT_EQ(json.at("gpus").at(1).at("uuid"), "GPU-41000000-0000-0000-0000-000000000000");
  EXPECT_EQ(json.at("gpus").at(1).at("rule"), "its current context's");
  EXPECT_EQ(json.at("gpu_groups"), Json::parse("[[0, 1, 2]]"));
  const std::string text =
      run(with("gpu A B; see * A B; current 1 0") + launch({3, 1}) + LOCKSTEP_CLI " topo").output;
  EXPECT_EQ(count(text, "(by its local rank, shared with ranks 1-2)"), 1u) << text;
  EXPECT_EQ(count(text, "GPU groups\n   ranks 0-2\n"), 1u) << text;
}

TEST(GpuViews, TopoShowsWhoHasNone) {
  const Json json = topology({2, 2}, "gpu A; see 0 A; no_driver 1");
  EXPECT_EQ(json.at("gpus").at(0).at("name"), "Fake GPU A");
  EXPECT_EQ(json.at("gpus").at(1).at("why"), "no fake driver here");
  EXPECT_FALSE(json.contains("gpu_groups"));
}

TEST(GpuViews, TopoShowsWhoseSettingIsWrongEvenIfItIsEverybodys) {
  const std::string text =
      run(with(kFour, "LOCKSTEP_GPU=7") + launch({2, 1}) + LOCKSTEP_CLI " topo").output;
  for (const char* const rank : {"0", "1"}) {
    EXPECT_EQ(count(text, std::string("rank ") + rank + "  none: LOCKSTEP_GPU=7 is too much: "), 1u)
        << text;
  }
}

TEST(GpuViews, TopoSaysNothingWhereThereIsNone) {
  EXPECT_FALSE(topology({2, 1}, "no_driver *").contains("gpus"));
  const std::string text = run(with("no_driver *") + LOCKSTEP_CLI " topo").output;
  EXPECT_EQ(count(text, "GPU"), 0u) << text;
}

TEST(GpuViews, InfoSaysWhichOneAndWhy) {
  const auto info = [](const std::string& machine, const std::string& settings = "") {
    return run(with(machine, settings) + LOCKSTEP_CLI " info").output;
  };
  EXPECT_EQ(count(info(kFour), "this process would use one: by its local rank"), 1u);
  EXPECT_EQ(count(info(kFour, "LOCKSTEP_GPU=2"), " * 2  GPU-43000000-"), 1u);
  EXPECT_EQ(count(info(kFour, "LOCKSTEP_GPU=2"), "would use 2: by LOCKSTEP_GPU"), 1u);
  EXPECT_EQ(count(info(kFour, "LOCKSTEP_GPU=x"), "would use none: LOCKSTEP_GPU=x is not"), 1u);
  EXPECT_EQ(count(info(kFour), "a FAKE for tests: no GPU is behind it; fake driver 1"), 1u);
  EXPECT_EQ(count(info("no_driver *"), "absent: no fake driver here"), 1u);
  EXPECT_EQ(count(info("mig A; see * A; fabric 7 1 A"), "MIG-41000000-"), 1u);
  const Json json = Json::parse(run(with(kFour) + LOCKSTEP_CLI " info --json").output);
  EXPECT_EQ(json.at("gpus").at("devices").size(), 4u);
  for (const Json& one : json.at("plugins")) EXPECT_NE(one["name"], "fake_gpu") << "no transport";
}

}  // namespace
