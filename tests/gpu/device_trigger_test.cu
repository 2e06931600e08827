// Kernels that set triggers, on real GPUs: ranks share them if there are fewer.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "lockstep/device.cuh"
#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using lockstep::DeviceTrigger;
using lockstep::DeviceWord;
using lockstep::Reason;
using lockstep::Session;
using lockstep::Trigger;

#define EXPECT_CUDA(call) EXPECT_EQ(call, cudaSuccess)

/// One step of a training that goes wrong in `bad_step`; `spin` stands for its work.
__global__ void train(DeviceTrigger overflow, float* loss, std::uint64_t step,
                      std::uint64_t bad_step, int spin) {
  float value = *loss;
  for (int i = 0; i < spin; ++i) value = value * 0.999F + 0.001F;
  if (step == bad_step) value = sqrtf(-1.0F - value * value);
  *loss = value;
  if (!isfinite(value)) overflow.set(step);
}

__global__ void set_by_all(DeviceTrigger trigger) {
  trigger.set(1 + threadIdx.x % 7);
}

__global__ void set_to_nothing(DeviceTrigger trigger) {
  trigger.set(0);
}

class Device : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      GTEST_SKIP() << "no GPU here";
    }
    EXPECT_CUDA(cudaSetDevice(static_cast<int>(the_session().local_rank()) % devices));
  }
};

using DeviceTriggers = Device;

/// The host runs ahead of its device and never waits for it in the loop.
TEST_F(DeviceTriggers, StopALoopInTheSameStepOnAllRanksWithoutASync) {
  Session& s = the_session();
  std::mt19937 random(11);
  float* loss = nullptr;
  ASSERT_EQ(cudaMalloc(&loss, sizeof *loss), cudaSuccess);
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  Trigger overflow = s.trigger("overflow");
  {
    DeviceWord word(overflow);
    for (std::uint64_t turn = 0; turn < 50 * soak(); ++turn) {
      const auto culprit = static_cast<std::uint32_t>(random() % s.size());
      const std::uint64_t bad_step = 1 + random() % 200;
      const int spin = static_cast<int>(random() % 5000);
      const float start = 1.0F;
      ASSERT_EQ(cudaMemcpy(loss, &start, sizeof start, cudaMemcpyHostToDevice), cudaSuccess);
      std::uint64_t step = 0;
      do {
        ++step;
        const std::uint64_t bad_here = culprit == s.rank() ? bad_step : 0;
        train<<<1, 1, 0, stream>>>(word.trigger(), loss, step, bad_here, spin);
      } while (!overflow.poll());
      const lockstep::TriggerReport report = overflow.report();
      EXPECT_EQ(report.reason, Reason::word);
      EXPECT_EQ(report.rank, culprit);
      EXPECT_GE(report.value, bad_step);
      EXPECT_LE(bad_step, step);
      for (const std::uint64_t other : everybodys(s.job(), step)) ASSERT_EQ(other, step);
      // A loss that is bad stays bad: what the steps that were under way have set is of this turn.
      ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
      s.wait_for_everyone();
      (void)overflow.check();
    }
  }
  overflow.close();
  EXPECT_CUDA(cudaStreamDestroy(stream));
  EXPECT_CUDA(cudaFree(loss));
}

TEST_F(DeviceTriggers, AreSetByAnyNumberOfThreadsAndByNothing) {
  Session& s = the_session();
  Trigger many = s.trigger("many");
  {
    DeviceWord word(many);
    EXPECT_FALSE(many.check());
    if (s.is_last_process()) set_by_all<<<64, 256>>>(word.trigger());
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_TRUE(many.check());
    EXPECT_GE(many.report().value, 1u);
    EXPECT_LE(many.report().value, 7u);
    EXPECT_EQ(many.report().rank, s.size() - 1);
    EXPECT_FALSE(many.check());
    if (s.is_last_process()) set_to_nothing<<<1, 1>>>(word.trigger());
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_TRUE(many.check()) << "a set is never lost";
    EXPECT_EQ(many.report().value, 1u);
  }
  many.close();
}

/// The word goes before the trigger: nobody looks at memory that was given back.
TEST_F(DeviceTriggers, MayLoseTheirWord) {
  Session& s = the_session();
  Trigger late = s.trigger("late");
  for (int turn = 0; turn < 3; ++turn) {
    DeviceWord word(late);
    set_to_nothing<<<1, 1>>>(word.trigger());
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  EXPECT_FALSE(late.check());
  late.close();
}

}  // namespace
