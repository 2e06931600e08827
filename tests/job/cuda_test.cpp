// The real GPU plugin, on a machine without a driver, and above one that has no GPUs
// (tests/support/fake_cuda): what it loads, what it asks, and what it makes of the answers.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/command.hpp"

namespace {

using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;
using Json = nlohmann::json;

/// `settings` before the command, above the fake driver.
std::string above(const std::string& settings) {
  return "LD_LIBRARY_PATH=" FAKE_DRIVER " " + settings + " ";
}

Json info(const std::string& settings) {
  const Finished finished = run(settings + LOCKSTEP_CLI " info --json");
  EXPECT_EQ(finished.status, 0) << finished.output;
  const Json json = Json::parse(finished.output, nullptr, false);
  return json.is_object() ? json.value("gpus", Json::object()) : Json::object();
}

std::string why_absent(const std::string& settings) {
  const Json gpus = info(settings);
  EXPECT_EQ(gpus.value("present", true), false) << gpus;
  return gpus.value("why", "");
}

/// The GPU groups of a job on one node, each rank of which sees what is its own alone.
Json groups(const std::string& settings, int ranks, int nodes = 1) {
  const std::string own =
      "bash -c \"all=ABCD; export FAKE_CUDA=\\${all:\\$PMIX_RANK:1}; exec " LOCKSTEP_CLI
      " topo --json\"";
  const Finished finished =
      run(above(settings) + "LOCKSTEP_LOG=off " LOCKSTEP_CLI " run -n " + std::to_string(ranks) +
          " --nodes " + std::to_string(nodes) + " " + own);
  EXPECT_EQ(finished.status, 0) << finished.output;
  const Json json = Json::parse(finished.output, nullptr, false);
  return json.is_object() ? json.value("gpu_groups", Json()) : Json();
}

TEST(CudaPlugin, WithoutADriverItSaysWhatToDo) {
  if (void* const driver = dlopen("libcuda.so.1", RTLD_LAZY)) {
    dlclose(driver);
    GTEST_SKIP() << "this machine has one";
  }
  const std::string why = why_absent("");
  EXPECT_EQ(why.find("no NVIDIA driver here: libcuda.so.1: "), 0u) << why;
  EXPECT_NE(why.find("apptainer --nv"), std::string::npos) << why;
}

TEST(CudaPlugin, NeedsNoLibraryOfTheVendorsToBeLoaded) {
  const Finished finished = run("readelf -d " CUDA_PLUGIN);
  ASSERT_EQ(finished.status, 0) << finished.output;
  EXPECT_GT(count(finished.output, "(NEEDED)"), 0u);
  for (const char* name : {"libcuda", "libnvidia", "libnccl"}) {
    EXPECT_EQ(count(finished.output, name), 0u) << finished.output;
  }
}

TEST(CudaPlugin, SaysWhyNoGpuIsSeen) {
  EXPECT_NE(why_absent(above("")).find("--gpus-per-node"), std::string::npos);
  EXPECT_NE(why_absent(above("FAKE_CUDA_INIT=802")).find("system not yet initialized"),
            std::string::npos);
  EXPECT_NE(why_absent(above("FAKE_CUDA_INIT=999")).find("error 999; what does nvidia-smi say?"),
            std::string::npos);
}

TEST(CudaPlugin, TellsWhatTheDriverTells) {
  const Json gpus = info(above("FAKE_CUDA=BA FAKE_CONTEXT=A FAKE_NVML=AB"));
  EXPECT_EQ(gpus["driver"], "driver 555.42, CUDA 12.4");
  ASSERT_EQ(gpus["devices"].size(), 2u) << gpus;
  EXPECT_EQ(gpus["devices"][0]["uuid"], "GPU-42424242-4242-4242-4242-424242424242");
  EXPECT_EQ(gpus["devices"][0]["name"], "Fake B");
  EXPECT_EQ(gpus["devices"][0]["address"], "0000:42:00.0");
  EXPECT_EQ(gpus["devices"][0]["memory"], std::uint64_t{80} << 30);
  EXPECT_FALSE(gpus["devices"][0].contains("fabric"));
  EXPECT_EQ(gpus["choice"]["ordinal"], 1) << "that of the context, whatever CUDA's own number is";
}

TEST(CudaPlugin, GoesOnWithoutNvml) {
  const Json gpus = info(above("FAKE_CUDA=A"));
  EXPECT_EQ(gpus["present"], true);
  EXPECT_EQ(gpus["driver"], "driver of unknown version, CUDA 12.4");
}

TEST(CudaPlugin, KnowsInstancesWithAndWithoutNvml) {
  for (const char* nvml : {"", "FAKE_NVML=a"}) {
    const Json gpus = info(above("FAKE_CUDA=a " + std::string(nvml)));
    EXPECT_EQ(gpus["devices"][0]["uuid"], "MIG-61616161-6161-6161-6161-616161616161") << nvml;
  }
}

TEST(CudaPlugin, TellsOfAFabricOnceTheGpuIsInIt) {
  const std::string fabric = "FAKE_CUDA=A FAKE_NVML=A FAKE_FABRIC=A ";
  EXPECT_EQ(info(above(fabric))["devices"][0].value("fabric", ""),
            "abababab-abab-abab-abab-abababababab.5");
  EXPECT_FALSE(info(above(fabric + "FAKE_FABRIC_STATE=2"))["devices"][0].contains("fabric"));
}

TEST(CudaPlugin, AsksCudaAboutGpusThatItSeesInBothDirections) {
  const auto groups_of = [](const std::string& settings) {
    const Finished finished = run(above(settings) + "LOCKSTEP_LOG=off " LOCKSTEP_CLI
                                                    " run -n 2 " LOCKSTEP_CLI " topo --json");
    const Json json = Json::parse(finished.output, nullptr, false);
    return json.is_object() ? json.value("gpu_groups", Json()) : Json();
  };
  EXPECT_EQ(groups_of("FAKE_CUDA=AB FAKE_PEERS=\"AB BA\""), Json::parse("[[0, 1]]"));
  EXPECT_EQ(groups_of("FAKE_CUDA=AB FAKE_PEERS=AB"), Json::parse("[[0], [1]]"));
}

TEST(CudaPlugin, AsksNvmlAboutGpusThatAreHiddenFromCuda) {
  EXPECT_EQ(groups("FAKE_NVML=ABCD FAKE_PEERS=\"AB BA CD DC\"", 4),
            Json::parse("[[0, 1], [2, 3]]"));
  EXPECT_EQ(groups("FAKE_NVML=ABCD FAKE_PEERS=\"AB\"", 2), Json::parse("[[0], [1]]"));
  EXPECT_EQ(groups("FAKE_NVML=A FAKE_PEERS=\"AB BA\"", 2), Json::parse("[[0], [1]]"));
  EXPECT_EQ(groups("FAKE_PEERS=\"AB BA\"", 2), Json::parse("[[0], [1]]"));
}

TEST(CudaPlugin, JoinsNodesOfOneFabric) {
  EXPECT_EQ(groups("FAKE_NVML=AB FAKE_FABRIC=AB", 2, 2), Json::parse("[[0, 1]]"));
  EXPECT_EQ(groups("FAKE_NVML=AB FAKE_PEERS=\"AB BA\"", 2, 2), Json::parse("[[0], [1]]"));
}

}  // namespace
