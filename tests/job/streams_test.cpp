// Waits for everyone and everyone's streams, above the fake plugin, and above the real one with a
// fake driver beneath: nobody returns before everybody's work is over, and what goes wrong is told
// to all.
#include <gtest/gtest.h>

#include "tests/support/command.hpp"

namespace {

using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

/// How a job gets to its streams.
struct Driver {
  const char* name;
  const char* settings;
};

void PrintTo(const Driver& driver, std::ostream* out) {
  *out << driver.name;
}

const Driver kDrivers[] = {
    {"fake_plugin", "LOCKSTEP_PLUGIN_PATH=" FAKE_FOLDER
                    " LOCKSTEP_GPU_PLUGIN=fake_gpu FAKE_GPUS=\"gpu A; see * A\""},
#ifdef FAKE_DRIVER
    {"words", "LD_LIBRARY_PATH=" FAKE_DRIVER " FAKE_CUDA=A"},
    {"questions", "LD_LIBRARY_PATH=" FAKE_DRIVER " FAKE_CUDA=A FAKE_NO_WORDS=write"},
    {"no_locked_memory", "LD_LIBRARY_PATH=" FAKE_DRIVER " FAKE_CUDA=A FAKE_NO_WORDS=lock"},
#endif
};

class Streams : public testing::TestWithParam<Driver> {
 protected:
  Finished job(int ranks, int nodes, const std::string& what,
               const std::string& settings = "") const {
    return run(std::string(GetParam().settings) + " LOCKSTEP_TIMEOUT=30s " + settings +
               " " LOCKSTEP_CLI " run -n " + std::to_string(ranks) + " --nodes " +
               std::to_string(nodes) + " " STREAM_JOB " " + what);
  }
  static void expect_on_all(const Finished& finished, int ranks, const std::string& text) {
    EXPECT_EQ(finished.status, 0) << finished.output;
    EXPECT_EQ(count(finished.output, text), static_cast<std::size_t>(ranks)) << finished.output;
  }
};

TEST_P(Streams, NobodyReturnsBeforeEverybodysWorkIsOver) {
  expect_on_all(job(3, 2, "many"), 3, ": 0 of 100 were too early");
}

TEST_P(Streams, ACaptureIsToldToAllAndNotBroken) {
  const Finished finished = job(3, 1, "captured");
  expect_on_all(finished, 3, ": state: ");
  expect_on_all(finished, 3, "rank 1 on n0: stream 1 of 2 is being captured");
  EXPECT_EQ(count(finished.output, "the capture is broken"), 0u) << finished.output;
}

TEST_P(Streams, AGpuThatFailsIsToldToAll) {
  expect_on_all(job(2, 2, "fails"), 2, "rank 1 on n1: the GPU has failed: ");
}

TEST_P(Streams, WorkThatTakesTooLongIsToldToAllAndGoesOn) {
  const Finished finished = job(2, 1, "late", "LOCKSTEP_REPORT=100ms");
  expect_on_all(
      finished, 2,
      "rank 1 on n0: what was enqueued on its streams was not done in 100 ms; it goes on");
  expect_on_all(finished, 2, ": done");
}

TEST_P(Streams, TheDefaultOneAndNoneAtAllAreFine) {
  expect_on_all(job(2, 1, "default"), 2, ": done");
}

INSTANTIATE_TEST_SUITE_P(Over, Streams, testing::ValuesIn(kDrivers),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(StreamsWithoutGpus, AreAnErrorOnAll) {
  const Finished none = run("LOCKSTEP_GPU=none LOCKSTEP_TIMEOUT=30s " LOCKSTEP_CLI
                            " run -n 2 " STREAM_JOB " captured");
  EXPECT_EQ(count(none.output, "unsupported: "), 2u) << none.output;
  EXPECT_EQ(count(none.output, "rank 0 on n0: LOCKSTEP_GPU=none"), 2u) << none.output;
}

}  // namespace
