// A host that waits: for everyone's streams, or for its own only. Triggers that nobody sets.
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

/// The time after the launch of an empty kernel.
template <class F>
double us_after_launch(cudaStream_t stream, F&& body) {
  launch(stream);
  return host_us(std::forward<F>(body));
}

}  // namespace

void measure_host_waits(Bench& bench) {
  const Stream stream;
  cudaStream_t const on = stream.handle();
  Group group = bench.new_group();
  const Options limit{.timeout = kRankLimit};
  const auto wait = [&group, limit] { group.wait_for_everyone(limit); };
  const auto wait_on = [&group, limit, on] { group.wait_for_everyone_on({on}, limit); };
  const auto ready = bench.make("lockstep", [&] {
    wait_on();
    return true;
  });
  std::vector<Contender> all{
      {"wait_for_everyone", [=] { return host_us(wait); }},
      {"kernel + sync",
       [=] {
         return host_us([=] {
           launch(on);
           synchronize(on);
         });
       }},
      {"kernel, sync alone", [=] { return us_after_launch(on, [=] { synchronize(on); }); }},
      {"kernel + sync + wait_for_everyone",
       [=] {
         return host_us([=] {
           launch(on);
           synchronize(on);
           wait();
         });
       }},
  };
  if (ready) {
    all.push_back({"wait_for_everyone_on, idle", [=] { return host_us(wait_on); }});
    all.push_back({"kernel + wait_for_everyone_on", [=] {
                     return host_us([=] {
                       launch(on);
                       wait_on();
                     });
                   }});
    all.push_back(
        {"kernel, wait_for_everyone_on alone", [=] { return us_after_launch(on, wait_on); }});
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
