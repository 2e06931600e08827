// A job that loses a rank amid its stream barriers: the others' streams must be let go, their next
// call must say who is lost, and their GPUs must be as good as new, for barriers of those who are
// left, too. Every other rank prints one line. usage: stream_victim SEED
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/gpu/neighbour.cuh"

namespace {

using lockstep::Group;
using lockstep::Session;
using lockstep::test::check;

__global__ void spin(unsigned long long duration_ns) {
  std::uint64_t begin;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
  std::uint64_t time = begin;
  while (time - begin < duration_ns) asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
}

/// Barriers until one fails; what it says.
std::string work(Group& group, cudaStream_t stream, std::mt19937& random) {
  constexpr int kInGraph = 10;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  group.prepare_stream_barrier();
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin a capture");
  for (int i = 0; i < kInGraph; ++i) {
    spin<<<1, 1, 0, stream>>>(1000);
    group.stream_barrier(stream, {.timeout = std::chrono::seconds(60)});
  }
  check(cudaStreamEndCapture(stream, &graph), "end a capture");
  check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
  // In the same order on all ranks, each at its own pace.
  for (int step = 0;; ++step) {
    try {
      if (step % 3 == 0) {
        check(cudaGraphLaunch(ready, stream), "cudaGraphLaunch");
      } else {
        spin<<<1, 1, 0, stream>>>(random() % 20000);
        group.stream_barrier(stream, {.timeout = std::chrono::seconds(60)});
      }
    } catch (const lockstep::BrokenGroup& error) {
      check(cudaStreamSynchronize(stream), "a stream that was let go");
      check(cudaGraphExecDestroy(ready), "cudaGraphExecDestroy");
      check(cudaGraphDestroy(graph), "cudaGraphDestroy");
      return std::string(lockstep_status_name(error.status())) + ": " + error.what();
    }
  }
}

int run(Session& job, unsigned seed) {
  std::mt19937 common(seed);
  std::mt19937 own(seed * 1000 + job.rank());
  const auto culprit = static_cast<std::uint32_t>(common() % job.size());
  const std::chrono::microseconds delay(common() % 60'000);
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  check(cudaSetDevice(static_cast<int>(job.rank()) % devices), "cudaSetDevice");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  Group all = job.job().split(0).value();
  const bool is_culprit = job.rank() == culprit;
  all.stream_barrier(stream);
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  std::thread end;
  if (is_culprit) {
    end = std::thread([delay] {
      std::this_thread::sleep_for(delay);
      kill(getpid(), SIGKILL);
    });
  }
  const std::string text = work(all, stream, own);
  Group left = all.shrink({.timeout = std::chrono::seconds(30)});
  if (left.size() != all.size() - 1) throw std::runtime_error("not one less");
  for (int i = 0; i < 100; ++i) left.stream_barrier(stream);
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  if (left.stream_barriers_over() != 100) throw std::runtime_error("not 100 over");
  std::printf("%s\n", ("rank " + std::to_string(job.rank()) + ": goes on after " + text).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Session job;
    return run(job, argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_victim: %s\n", error.what());
    return 1;
  }
}
