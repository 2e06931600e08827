// What it costs to get ready for barriers between streams: lockstep's, and NCCL's with and without
// its own. Everything made stays until the end, so that none gets what another has given back.
#include <deque>

#include "tests/bench/gpu/device.hpp"
#include "tests/bench/gpu/kernels.hpp"
#include "tests/bench/gpu/nccl_peer.hpp"
#include "tests/bench/gpu/parts.hpp"

namespace lockstep::bench::gpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kTimes = 5;

double free_mib() {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<double>(free) / (1 << 20);
}

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Cost {
  std::vector<double> ready_ms{};  ///< until its call returns
  std::vector<double> used_ms{};   ///< until the first barrier is over
  std::vector<double> mib{};       ///< of this rank's GPU, with the first barrier
};

/// What `prepare` and then `use` cost, after a barrier; or whether that has failed somewhere.
bool add(Bench& bench, const std::string& name, Cost& cost, const std::function<void()>& prepare,
         const std::function<void()>& use) {
  Group align = bench.new_group();
  const auto made = bench.make(name, [&] {
    align.wait_for_everyone({.timeout = kRankLimit});
    const double before = free_mib();
    align.wait_for_everyone({.timeout = kRankLimit});
    const Clock::time_point start = Clock::now();
    prepare();
    cost.ready_ms.push_back(ms_since(start));
    use();
    cost.used_ms.push_back(ms_since(start));
    align.wait_for_everyone({.timeout = kRankLimit});
    cost.mib.push_back(before - free_mib());
    return true;
  });
  return made.has_value();
}

void report(Bench& bench, const std::string& name, const Cost& cost) {
  bench.report(name + ", ready", cost.ready_ms, "ms");
  bench.report(name + ", first barrier over", cost.used_ms, "ms");
  bench.report(name + ", memory", cost.mib, "MiB");
}

/// Contexts, modules and memory pools that whoever comes first would pay for.
void warm_up(const Stream& stream) {
  check(launch_empty(stream.handle()), "launch an empty kernel");
  void* memory = nullptr;
  check(cudaMalloc(&memory, 1 << 20), "cudaMalloc");
  check(cudaMemset(memory, 0, 1 << 20), "cudaMemset");
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

}  // namespace

void measure_setup(Bench& bench) {
  const Stream stream;
  Timer timer;
  warm_up(stream);
  timer.us(stream.handle(), [] {});
  std::deque<Group> groups;
  std::deque<NcclPeer> peers;
  Cost lockstep;
  Cost nccl;
  Cost nccl_and_barrier;
  const auto rank = static_cast<int>(bench.job().rank());
  const auto ranks = static_cast<int>(bench.job().size());
  const auto add_nccl = [&](const std::string& name, Cost& cost, bool opens_barrier) {
    const std::string id = bench.broadcast(rank == 0 ? NcclPeer::new_id() : "");
    const auto prepare = [&] {
      NcclPeer& peer = peers.emplace_back(id, rank, ranks);
      if (opens_barrier) peer.open_barrier();
    };
    const auto use = [&] {
      timer.us(stream.handle(), [&] {
        if (opens_barrier) {
          peers.back().barrier(stream.handle());
        } else {
          peers.back().all_reduce(stream.handle());
        }
      });
    };
    return add(bench, name, cost, prepare, use);
  };
  bool has_lockstep = bench.wants("lockstep");
  bool has_nccl = bench.wants("nccl");
  bool has_barrier = bench.wants("lsa");
  for (unsigned time = 0; time < kTimes; ++time) {
    if (has_lockstep) {
      Group& group = groups.emplace_back(bench.new_group());
      has_lockstep = add(
          bench, "lockstep", lockstep,
          [&] { group.prepare_stream_barrier({.timeout = kMakeLimit}); },
          [&] {
            timer.us(stream.handle(),
                     [&] { group.stream_barrier(stream.handle(), {.timeout = kRankLimit}); });
          });
    }
    has_nccl = has_nccl && add_nccl("nccl", nccl, false);
    has_barrier = has_barrier && add_nccl("nccl + lsa", nccl_and_barrier, true);
  }
  report(bench, "lockstep", lockstep);
  report(bench, "nccl", nccl);
  report(bench, "nccl + lsa", nccl_and_barrier);
}

}  // namespace lockstep::bench::gpu
