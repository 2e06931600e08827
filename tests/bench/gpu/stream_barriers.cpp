// Barriers between the streams of all ranks: lockstep's, an all-reduce of NCCL, and NCCL's own
// barrier, beside empty kernels.
#include <algorithm>

#include "tests/bench/gpu/device.hpp"
#include "tests/bench/gpu/kernels.hpp"
#include "tests/bench/gpu/nccl_peer.hpp"
#include "tests/bench/gpu/parts.hpp"

namespace lockstep::bench::gpu {
namespace {

constexpr unsigned kRounds = 20;  // of many barriers each
const std::string kReporting = "lockstep, reporting";

/// What can be enqueued many times, and the name of it.
struct Enqueue {
  std::string name;
  std::function<void()> once;
};

/// Makes the communicator and uses it: NCCL connects at the first all-reduce.
std::optional<NcclPeer> connect(Bench& bench, cudaStream_t stream) {
  const std::string id = bench.broadcast(bench.job().is_main_process() ? NcclPeer::new_id() : "");
  return bench.make("nccl", [&] {
    NcclPeer made(id, static_cast<int>(bench.job().rank()), static_cast<int>(bench.job().size()));
    Timer timer;
    timer.us(stream, [&] { made.all_reduce(stream); });
    return made;
  });
}

/// The contenders that work here. What they need lives as long as this.
class Field {
 public:
  explicit Field(Bench& bench)
      : group_(bench.new_group()),
        reporting_(bench.new_group()),
        trigger_(reporting_.trigger("gpu_bench")) {
    cudaStream_t const stream = stream_.handle();
    if (bench.wants("empty")) {
      const auto once = [stream] { check(launch_empty(stream), "launch an empty kernel"); };
      us(once);  // loads the kernel, which a capture would not like
      all_.push_back({"empty", once});
    }
    if (bench.wants("lockstep")) add_lockstep(bench, "lockstep", group_);
    if (bench.wants(kReporting) &&
        bench.make(kReporting, [this] { return trigger_.stream_bit({.timeout = kMakeLimit}); })) {
      add_lockstep(bench, kReporting, reporting_);
    }
    if (!bench.wants("nccl") && !bench.wants("lsa")) return;
    nccl_ = connect(bench, stream);
    if (!nccl_) return;
    if (bench.wants("nccl")) all_.push_back({"nccl", [this] { nccl_->all_reduce(on()); }});
    if (bench.wants("lsa")) add_lsa(bench);
  }

  const std::vector<Enqueue>& all() const noexcept { return all_; }
  cudaStream_t on() const noexcept { return stream_.handle(); }
  double us(const std::function<void()>& enqueue) { return timer_.us(on(), enqueue); }

 private:
  void add_lockstep(Bench& bench, const std::string& name, Group& group) {
    const auto once = [this, &group] { group.stream_barrier(on(), {.timeout = kRankLimit}); };
    const auto made = bench.make(name, [&] {
      group.prepare_stream_barrier({.timeout = kMakeLimit});
      us(once);
      return true;
    });
    if (made) all_.push_back({name, once});
  }
  void add_lsa(Bench& bench) {
    const auto made = bench.make("lsa", [&] {
      nccl_->open_barrier();
      return true;
    });
    // Apart, so that nobody waits on the GPU for a rank that has no such barrier.
    if (!made) return;
    const auto once = [this] { nccl_->barrier(on()); };
    const auto used = bench.make("lsa", [&] { return us(once); });
    if (used) all_.push_back({"lsa", once});
  }

  Stream stream_;
  Timer timer_;
  Group group_;
  Group reporting_;  ///< a trigger of it has a bit, so that each barrier tells its host
  Trigger trigger_;
  std::optional<NcclPeer> nccl_;
  std::vector<Enqueue> all_;
};

void repeat(unsigned times, const std::function<void()>& once) {
  for (unsigned i = 0; i < times; ++i) once();
}

}  // namespace

void measure_graphs(Bench& bench) {
  const unsigned barriers = bench.settings().barriers;
  Field field(bench);
  std::vector<Graph> graphs;
  graphs.reserve(field.all().size());  // the contenders point to them
  std::vector<Contender> contenders;
  for (const Enqueue& enqueue : field.all()) {
    auto made = bench.make(
        enqueue.name, [&] { return Graph(field.on(), [&] { repeat(barriers, enqueue.once); }); });
    if (!made) continue;
    const Graph& graph = graphs.emplace_back(std::move(*made));
    contenders.push_back({enqueue.name, [&field, &graph, barriers] {
                            return field.us([&] { graph.launch(field.on()); }) / barriers;
                          }});
  }
  bench.run(contenders, kRounds, "us");
}

void measure_eager(Bench& bench) {
  const unsigned barriers = bench.settings().barriers;
  Field field(bench);
  std::vector<Contender> contenders;
  for (const Enqueue& enqueue : field.all()) {
    contenders.push_back({enqueue.name, [&field, &enqueue, barriers] {
                            return field.us([&] { repeat(barriers, enqueue.once); }) / barriers;
                          }});
  }
  bench.run(contenders, kRounds, "us");
}

}  // namespace lockstep::bench::gpu
