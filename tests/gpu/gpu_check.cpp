// What has to hold on real GPUs, on every rank of a job; no compiler for GPUs is needed.
// usage: gpu_check data | capture | fail | times      exit status 77: there is no driver here
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "lockstep/lockstep.hpp"
#include "tests/gpu/cuda.hpp"

namespace {

using lockstep::test::check;
using lockstep::test::Cuda;

constexpr int kNoDriver = 77;

// `idle` keeps a stream busy for so many ns, `trap` breaks the GPU's context.
constexpr const char* kKernels = R"(
.version 7.0
.target sm_70
.address_size 64
.visible .entry idle(.param .u64 duration) {
  .reg .pred %p<2>;
  .reg .b64 %rd<5>;
  ld.param.u64 %rd1, [duration];
  mov.u64 %rd2, %globaltimer;
again:
  mov.u64 %rd3, %globaltimer;
  sub.u64 %rd4, %rd3, %rd2;
  setp.lt.u64 %p1, %rd4, %rd1;
  @%p1 bra again;
  ret;
}
.visible .entry broken() {
  trap;
}
)";

/// This rank's GPU, its streams, and what it shares with the others' GPUs.
class Rank {
 public:
  explicit Rank(lockstep::Session& job) : job_(job) {
    check(cuda.cuInit(0), "cuInit");
    int count = 0;
    check(cuda.cuDeviceGetCount(&count), "cuDeviceGetCount");
    CUdevice device = 0;
    check(cuda.cuDeviceGet(&device, static_cast<int>(job.local_rank()) % count), "cuDeviceGet");
    CUcontext context = nullptr;
    check(cuda.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    for (CUstream& stream : streams) {
      check(cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    }
    CUmodule kernels = nullptr;
    check(cuda.cuModuleLoadData(&kernels, kKernels), "cuModuleLoadData");
    check(cuda.cuModuleGetFunction(&idle_, kernels, "idle"), "idle");
    check(cuda.cuModuleGetFunction(&broken_, kernels, "broken"), "broken");
    share_memory();
  }

  void keep_busy(CUstream stream, std::uint64_t ns) {
    void* arguments[] = {&ns};
    check(cuda.cuLaunchKernel(idle_, 1, 1, 1, 1, 1, 1, 0, stream, arguments, nullptr), "launch");
  }
  void break_context(CUstream stream) {
    check(cuda.cuLaunchKernel(broken_, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, nullptr), "launch");
  }
  /// The GPU writes this rank's own word of the memory that all ranks of the node see.
  void write_own_word(CUstream stream, std::uint32_t value) {
    check(cuda.cuStreamWriteValue32(stream, address_ + 64 * job_.local_rank(), value, 0), "write");
  }
  std::uint32_t word_of(std::uint32_t local_rank) const {
    return std::atomic_ref(shared_[16 * local_rank]).load();
  }

  Cuda cuda;
  CUstream streams[3] = {};

 private:
  void share_memory() {
    std::string name;
    if (job_.is_local_main_process()) name = "/lockstep-gpu-check-" + std::to_string(getpid());
    name = job_.local().broadcast(name);
    const int file = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
    const std::size_t bytes = 64 * 1024;
    if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) {
      throw std::runtime_error("no shared memory");
    }
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    job_.local().wait_for_everyone();
    if (job_.is_local_main_process()) shm_unlink(name.c_str());
    if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
    shared_ = static_cast<std::uint32_t*>(memory);
    check(cuda.cuMemHostRegister(memory, bytes, CU_MEMHOSTREGISTER_DEVICEMAP), "register");
    check(cuda.cuMemHostGetDevicePointer(&address_, memory, 0), "address");
  }

  lockstep::Session& job_;
  CUfunction idle_ = nullptr;
  CUfunction broken_ = nullptr;
  std::uint32_t* shared_ = nullptr;
  CUdeviceptr address_ = 0;
};

void say(const lockstep::Session& job, const std::string& text) {
  std::printf("%s\n", ("rank " + std::to_string(job.rank()) + ": " + text).c_str());
}

/// After each wait every rank sees what every GPU of its node has written before.
int data(lockstep::Session& job, Rank& rank) {
  int violations = 0;
  constexpr std::uint32_t kWaits = 5'000;
  for (std::uint32_t wait = 1; wait <= kWaits; ++wait) {
    CUstream const stream = rank.streams[wait % 3];
    if ((wait + job.rank()) % 4 != 0) rank.keep_busy(stream, 1'000 * (wait * 7 % 40));
    rank.write_own_word(stream, wait);
    if (wait % 5 == 0) {
      job.wait_for_everyone_on({rank.streams[0], rank.streams[1], rank.streams[2], nullptr});
    } else {
      job.wait_for_everyone_on({stream});
    }
    for (std::uint32_t other = 0; other < job.local_size(); ++other) {
      if (rank.word_of(other) != wait) ++violations;
    }
    job.wait_for_everyone();  // nobody writes the next one while somebody looks
  }
  say(job, std::to_string(violations) + " violations in " + std::to_string(kWaits) + " waits");
  return violations == 0 ? 0 : 1;
}

/// Whether all get that error, naming rank 0.
bool is_refused(lockstep::Session& job, CUstream stream, lockstep_status_t status) {
  try {
    job.wait_for_everyone_on({stream});
  } catch (const lockstep::Error& error) {
    say(job, error.what());
    return error.status() == status &&
           std::string(error.what()).find("rank 0 on ") != std::string::npos;
  }
  return false;
}

int capture(lockstep::Session& job, Rank& rank) {
  CUstream const stream = rank.streams[1];
  const bool captures = job.rank() == 0;
  if (captures) {
    check(rank.cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), "begin");
    rank.keep_busy(stream, 1'000);
  }
  bool is_right = is_refused(job, stream, LOCKSTEP_E_STATE);
  // Another stream, busy, of a context without words so far: the capture survives that, too.
  if (captures) {
    job.wait_for_everyone_on({rank.streams[0]});
    CUgraph graph = nullptr;
    check(rank.cuda.cuStreamEndCapture(stream, &graph), "the capture was broken");
    check(rank.cuda.cuGraphDestroy(graph), "destroy");
  } else {
    rank.keep_busy(rank.streams[0], 50'000);
    job.wait_for_everyone_on({rank.streams[0]});
  }
  job.wait_for_everyone_on({stream});
  say(job, is_right ? "right" : "wrong");
  return is_right ? 0 : 1;
}

int fail(lockstep::Session& job, Rank& rank) {
  if (job.rank() == 0) rank.break_context(rank.streams[0]);
  const bool is_right = is_refused(job, rank.streams[0], LOCKSTEP_E_RESOURCE);
  job.wait_for_everyone({.name = "the group goes on"});
  say(job, is_right ? "right" : "wrong");
  return is_right ? 0 : 1;
}

double median_us(lockstep::Session& job, const std::function<void()>& body) {
  std::vector<double> times;
  for (int i = 0; i < 2'000; ++i) {
    job.wait_for_everyone();
    const auto start = std::chrono::steady_clock::now();
    body();
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::nth_element(times.begin(), times.begin() + 1'000, times.end());
  return times[1'000];
}

int times(lockstep::Session& job, Rank& rank) {
  CUstream const stream = rank.streams[0];
  const std::pair<const char*, std::function<void()>> rows[] = {
      {"wait_for_everyone", [&] { job.wait_for_everyone(); }},
      {"wait_for_everyone_on, idle", [&] { job.wait_for_everyone_on({stream}); }},
      {"empty kernel + stream sync",
       [&] {
         rank.keep_busy(stream, 0);
         check(rank.cuda.cuStreamSynchronize(stream), "sync");
       }},
      {"empty kernel + stream sync + wait_for_everyone",
       [&] {
         rank.keep_busy(stream, 0);
         check(rank.cuda.cuStreamSynchronize(stream), "sync");
         job.wait_for_everyone();
       }},
      {"empty kernel + wait_for_everyone_on",
       [&] {
         rank.keep_busy(stream, 0);
         job.wait_for_everyone_on({stream});
       }},
      {"20 us kernel + wait_for_everyone_on",
       [&] {
         rank.keep_busy(stream, 20'000);
         job.wait_for_everyone_on({stream});
       }},
  };
  for (const auto& [name, body] : rows) {
    const double median = median_us(job, body);
    if (job.rank() == 0) std::printf("%-50s %8.2f us, median of 2000\n", name, median);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (!Cuda::is_here()) {
    std::fprintf(stderr, "gpu_check: no libcuda.so.1 here\n");
    return kNoDriver;
  }
  try {
    lockstep::Session job;
    Rank rank(job);
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "data") return data(job, rank);
    if (what == "capture") return capture(job, rank);
    if (what == "fail") return fail(job, rank);
    if (what == "times") return times(job, rank);
    std::fprintf(stderr, "usage: gpu_check data | capture | fail | times\n");
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_check: %s\n", error.what());
    return 1;
  }
}
