// A host that waits: for everyone's streams, or for its own only. Triggers that nobody sets.
#include <cuda.h>

#include <atomic>
#include <memory>
#include <new>

#include "tests/bench/gpu/device.hpp"
#include "tests/bench/gpu/kernels.hpp"
#include "tests/bench/gpu/parts.hpp"

namespace lockstep::bench::gpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kRounds = 500;
constexpr unsigned kPolls = 1'000;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

template <class F>
double host_us(F&& body) {
  const Clock::time_point start = Clock::now();
  std::forward<F>(body)();
  return us_since(start);
}

void launch(cudaStream_t stream) {
  check(launch_empty(stream), "launch an empty kernel");
}

void synchronize(cudaStream_t stream) {
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

/// The driver's function; the library links no driver, and neither does this.
decltype(&cuStreamWriteValue32) find_write() {
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  void* function = nullptr;
#if CUDART_VERSION >= 12050
  const cudaError_t asked = cudaGetDriverEntryPointByVersion("cuStreamWriteValue32", &function,
                                                             12'000, cudaEnableDefault, &found);
#else
  const cudaError_t asked =
      cudaGetDriverEntryPoint("cuStreamWriteValue32", &function, cudaEnableDefault, &found);
#endif
  check(asked, "find cuStreamWriteValue32");
  if (found != cudaDriverEntryPointSuccess) throw std::runtime_error("no cuStreamWriteValue32");
  return reinterpret_cast<decltype(&cuStreamWriteValue32)>(function);
}

/// What the stream's front end does by itself, to a word of the host's: the stream is busy then,
/// without a kernel.
class Write {
 public:
  Write() : write_(find_write()) {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, sizeof(cuuint32_t), cudaHostAllocMapped), "cudaHostAlloc");
    word_.reset(::new (memory) cuuint32_t{0});
  }
  void enqueue(cudaStream_t stream) {
    // With unified addresses the GPU knows it by the same one.
    const auto word = reinterpret_cast<CUdeviceptr>(word_.get());
    if (write_(stream, word, ++written_, 0) != CUDA_SUCCESS) {
      throw std::runtime_error("cuStreamWriteValue32");
    }
  }
  void wait() const {
    const auto start = Clock::now();
    while (std::atomic_ref(*word_).load() != written_) {
      if (Clock::now() - start > kGpuLimit) throw std::runtime_error("a write does not come");
    }
  }

 private:
  struct Free {
    void operator()(cuuint32_t* memory) const { cudaFreeHost(memory); }
  };
  decltype(&cuStreamWriteValue32) write_;
  std::unique_ptr<cuuint32_t, Free> word_;
  cuuint32_t written_ = 0;
};

/// The time of `body`, with and without what comes before it.
template <class Before, class F>
void add_behind(std::vector<Contender>& all, const std::string& what, const std::string& name,
                Before before, F body) {
  all.push_back({what + " + " + name, [=] {
                   return host_us([=] {
                     before();
                     body();
                   });
                 }});
  all.push_back({what + ", " + name + " alone", [=] {
                   before();
                   return host_us(body);
                 }});
}

}  // namespace

void measure_host_waits(Bench& bench) {
  const Stream stream;
  Write word;
  Write floor_word;
  cudaStream_t const on = stream.handle();
  Group group = bench.new_group();
  const Options limit{.timeout = kRankLimit};
  const auto wait = [&group, limit] { group.wait_for_everyone(limit); };
  const auto wait_on = [&group, limit, on] { group.wait_for_everyone_on({on}, limit); };
  const auto ready = bench.make("lockstep", [&] {
    wait_on();
    return true;
  });
  const auto kernel = [on] { launch(on); };
  const auto write = [&word, on] { word.enqueue(on); };
  const auto sync = [on] { synchronize(on); };
  std::vector<Contender> all{{"wait_for_everyone", [=] { return host_us(wait); }}};
  add_behind(all, "kernel", "sync", kernel, sync);
  add_behind(all, "kernel", "sync + wait_for_everyone", kernel, [=] {
    sync();
    wait();
  });
  add_behind(all, "write", "sync + wait_for_everyone", write, [=] {
    sync();
    wait();
  });
  // What the driver takes for the way that lockstep goes, with nothing around it.
  const auto bare = [&floor_word, on] {
    floor_word.enqueue(on);
    floor_word.wait();
  };
  all.push_back({"bare write, idle", [=] { return host_us(bare); }});
  add_behind(all, "write", "bare write", write, bare);
  add_behind(all, "kernel", "bare write", kernel, bare);
  if (ready) {
    all.push_back({"wait_for_everyone_on, idle", [=] { return host_us(wait_on); }});
    add_behind(all, "write", "wait_for_everyone_on", write, wait_on);
    add_behind(all, "kernel", "wait_for_everyone_on", kernel, wait_on);
  }
  std::erase_if(all, [&](const Contender& contender) { return !bench.wants(contender.name); });
  bench.run(all, kRounds, "us");
}

void measure_triggers(Bench& bench) {
  Session& job = bench.job();
  const Options limit{.timeout = kRankLimit};
  std::vector<Contender> all{
      {"check_trigger",
       [&] { return host_us([&] { static_cast<void>(job.check_trigger(limit)); }); }},
      {"poll_trigger",
       [&] {
         return host_us([&] {
                  for (unsigned i = 0; i < kPolls; ++i) static_cast<void>(job.poll_trigger(limit));
                }) /
                kPolls;
       }},
  };
  bench.run(all, kRounds, "us");
}

}  // namespace lockstep::bench::gpu
