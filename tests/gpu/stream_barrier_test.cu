// Stream barriers on real GPUs: ranks share them if there are fewer.
#include <chrono>
#include <random>
#include <thread>

#include "lockstep/device.cuh"
#include "tests/gpu/neighbour.cuh"
#include "tests/job/the_session.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::DeviceTrigger;
using lockstep::DeviceWord;
using lockstep::Group;
using lockstep::Session;
using lockstep::Trigger;
using lockstep::test::check;
using lockstep::test::kThreads;
using lockstep::test::look_at;
using lockstep::test::Neighbour;
using lockstep::test::Steps;
using lockstep::test::write_to;

class StreamBarriers : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      GTEST_SKIP() << "no GPU here";
    }
    check(cudaSetDevice(static_cast<int>(the_session().local_rank()) % devices), "cudaSetDevice");
    shares_gpu_ = the_session().local_size() > static_cast<unsigned>(devices);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    check(cudaMalloc(&steps_, sizeof *steps_), "cudaMalloc");
    check(cudaMemset(steps_, 0, sizeof *steps_), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    the_session().wait_for_everyone();
  }
  void TearDown() override {
    if (stream_ == nullptr) return;
    cudaFree(steps_);
    cudaStreamDestroy(stream_);
    the_session().wait_for_everyone();
  }
  /// As random as they may be, and few where GPUs are shared: kernels that wait for each other take
  /// turns there.
  std::uint64_t rounds(std::uint64_t many) const { return shares_gpu_ ? many / 20 : many * soak(); }
  Steps done() {
    Steps steps{};
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    check(cudaMemcpy(&steps, steps_, sizeof steps, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return steps;
  }
  void one_step(Group& group, const Neighbour& data, unsigned long long spin_ns) {
    write_to<<<1, kThreads, 0, stream_>>>(data.next(), steps_, spin_ns);
    group.stream_barrier(stream_);
    look_at<<<1, kThreads, 0, stream_>>>(data.mine(), steps_);
  }

  cudaStream_t stream_ = nullptr;
  Steps* steps_ = nullptr;
  bool shares_gpu_ = false;
};

TEST_F(StreamBarriers, OrderWhatOneGpuWritesAndAnotherReads) {
  Session& s = the_session();
  Neighbour data(s.job());
  s.job().prepare_stream_barrier();
  const std::uint64_t before = s.job().stream_barriers_over();
  std::mt19937 random(17 + s.rank());
  const std::uint64_t count = rounds(2000);
  for (std::uint64_t step = 0; step < count; ++step) {
    one_step(s.job(), data, random() % 4 == 0 ? random() % 20000 : 0);
  }
  const Steps steps = done();
  EXPECT_EQ(steps.step, count);
  EXPECT_EQ(steps.wrong, 0u);
  EXPECT_EQ(s.job().stream_barriers_over(), before + count);
}

/// Without the barrier it does go wrong: the test can fail.
TEST_F(StreamBarriers, AreWhatKeepsTheOrder) {
  Session& s = the_session();
  if (s.size() == 1 || shares_gpu_) GTEST_SKIP() << "nobody writes at the same time here";
  Neighbour data(s.job());
  for (std::uint64_t step = 0; step < 200; ++step) {
    write_to<<<1, kThreads, 0, stream_>>>(data.next(), steps_, 1000 * (1 + s.rank()));
    look_at<<<1, kThreads, 0, stream_>>>(data.mine(), steps_);
  }
  std::uint64_t wrong = 0;
  for (const std::uint64_t one : everybodys(s.job(), done().wrong)) wrong += one;
  EXPECT_GT(wrong, 0u);
}

TEST_F(StreamBarriers, GoIntoGraphsAndAreLaunchedAgain) {
  Session& s = the_session();
  Neighbour data(s.job());
  s.job().prepare_stream_barrier();
  const std::uint64_t before = s.job().stream_barriers_over();
  constexpr int kSteps = 20;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin a capture");
  for (int step = 0; step < kSteps; ++step) {
    one_step(s.job(), data, step % 5 == 0 ? 3000 * (s.rank() % 3) : 0);
  }
  check(cudaStreamEndCapture(stream_, &graph), "end a capture");
  check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
  const std::uint64_t launches = std::max<std::uint64_t>(rounds(100), 2);
  for (std::uint64_t launch = 0; launch < launches; ++launch) {
    check(cudaGraphLaunch(ready, stream_), "cudaGraphLaunch");
    if (launch % 7 == 0) one_step(s.job(), data, 0);  // between two graphs
  }
  const std::uint64_t count = launches * kSteps + (launches + 6) / 7;
  const Steps steps = done();
  EXPECT_EQ(steps.step, count);
  EXPECT_EQ(steps.wrong, 0u);
  EXPECT_EQ(s.job().stream_barriers_over(), before + count);
  check(cudaGraphExecDestroy(ready), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
}

__global__ void raise(DeviceTrigger trigger, const Steps* steps, std::uint64_t when) {
  if (steps->step == when) trigger.set(when);
}

__global__ void note(DeviceTrigger trigger, Steps* steps, std::uint8_t* agreed) {
  agreed[steps->step] = trigger.is_agreed() && !trigger.has_barrier_failed() ? 1 : 0;
  ++steps->step;
}

/// Kernels and hosts of all ranks see it after the same barrier, and nobody has waited for a GPU.
TEST_F(StreamBarriers, BringWhatKernelsHaveRaisedToKernelsAndHosts) {
  Session& s = the_session();
  Group& job = s.job();
  Trigger overflow = s.trigger("overflow");
  Trigger other = s.trigger("other");
  const lockstep_stream_bit_t unused = other.stream_bit();
  const lockstep_stream_bit_t bit = overflow.stream_bit();
  EXPECT_EQ(overflow.stream_bit().mask, bit.mask);
  EXPECT_NE(unused.mask, bit.mask);
  constexpr std::uint64_t kSteps = 40;
  std::uint8_t* agreed = nullptr;
  check(cudaMalloc(&agreed, kSteps), "cudaMalloc");
  std::mt19937 random(5);
  {
    DeviceWord word(overflow, bit);
    for (int turn = 0; turn < (shares_gpu_ ? 2 : 10); ++turn) {
      const auto culprit = static_cast<std::uint32_t>(random() % s.size());
      const std::uint64_t when = random() % kSteps;
      check(cudaMemsetAsync(steps_, 0, sizeof *steps_, stream_), "cudaMemset");
      const std::uint64_t first = job.stream_barriers_over() + 1;
      for (std::uint64_t step = 0; step < kSteps; ++step) {
        raise<<<1, 1, 0, stream_>>>(word.trigger(), steps_, culprit == s.rank() ? when : kSteps);
        job.stream_barrier(stream_);
        note<<<1, 1, 0, stream_>>>(word.trigger(), steps_, agreed);
      }
      (void)done();
      std::vector<std::uint8_t> seen(kSteps);
      check(cudaMemcpy(seen.data(), agreed, kSteps, cudaMemcpyDeviceToHost), "cudaMemcpy");
      for (std::uint64_t step = 0; step < kSteps; ++step) {
        EXPECT_EQ(seen[step], step == when ? 1 : 0) << step;
        const auto bits = job.stream_barrier_bits(first + step);
        ASSERT_TRUE(bits);
        EXPECT_EQ(*bits, step == when ? bit.mask : 0u) << step;
      }
      // The trigger is set as well, and its report says where.
      ASSERT_TRUE(overflow.check());
      EXPECT_EQ(overflow.report().rank, culprit);
    }
  }
  check(cudaFree(agreed), "cudaFree");
  other.close();
  overflow.close();
}

TEST_F(StreamBarriers, OfAGroupInWhichSomebodyDoesNotComeHoldNoStream) {
  Session& s = the_session();
  if (s.size() == 1) GTEST_SKIP() << "nobody can be late";
  Group part = s.job().split(0).value();
  part.prepare_stream_barrier();
  part.stream_barrier(stream_);
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  if (s.rank() == 0) {
    part.stream_barrier(stream_, {.timeout = 300ms});
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  s.wait_for_everyone();
  // The others learn it when they come: their kernels end at once.
  std::string text;
  for (int i = 0; i < 200 && text.empty(); ++i) {
    try {
      part.stream_barrier(stream_, {.timeout = 5s});
      check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
      std::this_thread::sleep_for(10ms);
    } catch (const lockstep::BrokenGroup& error) {
      text = error.what();
      EXPECT_TRUE(s.rank() != 0 || error.status() == LOCKSTEP_E_DEADLINE) << text;
    }
  }
  EXPECT_NE(text.find("stream_barrier: "), std::string::npos) << text;
  EXPECT_THROW(part.stream_barriers_over(), lockstep::BrokenGroup);
  s.wait_for_everyone();
  // Another group of the same ranks goes on.
  Group again = s.job().split(0).value();
  again.stream_barrier(stream_);
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  EXPECT_EQ(again.stream_barriers_over(), 1u);
  s.wait_for_everyone();
}

TEST_F(StreamBarriers, AreToldApartFromMistakes) {
  Session& s = the_session();
  Group part = s.job().split(0).value();
  EXPECT_THROW(part.stream_barriers_over(), lockstep::UsageError);
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin a capture");
  EXPECT_THROW(part.stream_barrier(stream_), lockstep::UsageError);
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_, &graph), "the capture goes on");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  part.stream_barrier(nullptr);
  part.wait_for_everyone_on({nullptr});
  EXPECT_EQ(part.stream_barrier_bits(1), 0u);
  EXPECT_EQ(part.stream_barrier_bits(2), std::nullopt);
  for (int i = 0; i < 70; ++i) part.stream_barrier(nullptr);
  part.wait_for_everyone_on({nullptr});
  EXPECT_EQ(part.stream_barriers_over(), 71u);
  EXPECT_THROW(part.stream_barrier_bits(1), lockstep::Error);
}

}  // namespace
