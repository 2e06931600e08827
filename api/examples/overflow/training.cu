// The loop. Each step is enqueued and left alone: gradients, a look at them, a stream barrier that
// tells all ranks' GPUs whether anybody's were bad, the mean over all ranks, and an update that
// does nothing from the bad step on. The host polls, and hears of it some steps later.
#include "training.hpp"

#include "lockstep/device.cuh"

#include "device.hpp"
#include "network.cuh"

#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>

namespace overflow {
namespace {

using lockstep::DeviceTrigger;
using lockstep::DeviceWord;
using lockstep::Session;
using lockstep::Trigger;

/// So many steps the host is ahead of its GPU at most. A full queue of the driver's would hold it
/// where it polls no more, and so hears of nothing.
constexpr std::uint64_t kAhead = 32;
/// A GPU that ends no step for so long waits for a rank that will not come.
constexpr std::chrono::seconds kPatience{60};

/// In memory of the GPU, where the updates keep it.
struct Progress {
  std::uint64_t applied;
  std::uint64_t bad_step;
  float loss;
};

/// Stands for what goes wrong in a real training.
__global__ void poison(float* gradients, std::uint32_t count) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) gradients[i] = INFINITY;
}

/// Raises the trigger if something is not finite: for the host by a word of its memory, and for the
/// barrier that comes next on this stream by a bit. Once is enough.
__global__ void check_gradients(const float* gradients, std::uint32_t count,
                                const Progress* progress, DeviceTrigger overflow,
                                std::uint64_t step) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const bool is_bad = i < count && !isfinite(gradients[i]) && progress->bad_step == 0;
  if (__syncthreads_or(is_bad ? 1 : 0) != 0 && threadIdx.x == 0) overflow.set(step);
}

/// Behind the barrier all GPUs know the same: either all apply this step, or none. From the first
/// bad one on the weights stay as they are, however far the hosts are ahead: they are the copy.
__global__ void update(float* weights, const float* gradients, std::uint32_t count, float rate,
                       Progress* progress, std::uint64_t* seen, DeviceTrigger overflow,
                       std::uint64_t step) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const bool is_bad = overflow.is_agreed() || overflow.has_barrier_failed();
  const bool was_bad = progress->bad_step != 0;  // if this step makes it so, is_bad says it, too
  if (!is_bad && !was_bad && i < count) weights[i] -= rate * gradients[i];
  if (i != 0) return;
  if (was_bad) {
    // Nothing has changed.
  } else if (is_bad) {
    progress->bad_step = step;
  } else {
    const float loss = gradients[count];
    progress->loss = progress->applied == 0 ? loss : 0.98F * progress->loss + 0.02F * loss;
    progress->applied = step;
  }
  // Step and loss in one store: the host reads both or neither.
  *static_cast<volatile std::uint64_t*>(seen) = step << 32 | __float_as_uint(progress->loss);
}

/// The same on all ranks.
std::vector<float> first_weights(const Layout& layout, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto fill = [&](float* begin, std::uint32_t size, float width) {
    for (std::uint32_t i = 0; i < size; ++i) {
      const double one = static_cast<double>(random() >> 11) * 0x1p-53;
      begin[i] = width * static_cast<float>(2 * one - 1);
    }
  };
  std::vector<float> weights(layout.size(), 0.0F);
  const auto fan_in = [](std::uint32_t inputs) {
    return std::sqrt(3.0F / static_cast<float>(inputs));
  };
  fill(weights.data(), layout.hidden_weights(), 1.0F);
  fill(weights.data() + layout.hidden_weights(), layout.hidden * kInputs, fan_in(kInputs));
  fill(weights.data() + layout.output_weights(), kSymbols * layout.hidden, fan_in(layout.hidden));
  return weights;
}

/// What a step's kernels work with. The last member is the first to go: what waits in NCCL is ended
/// before the memory that it uses is given back.
class Trainer {
 public:
  Trainer(Session& session, const Options& options, const Examples& examples)
      : session_(session),
        options_(options),
        layout_{options.hidden},
        weights_(first_weights(layout_, options.seed)),
        gradients_(layout_.size() + 1),
        progress_(1),
        examples_(examples.symbols),
        data_{examples_.get(), static_cast<std::uint32_t>(examples.size()), options.seed},
        chosen_(options.batch),
        floats_(std::size_t{options.batch} * (2 * kInputs + 2 * options.hidden + kSymbols + 1)),
        batch_(make_batch()),
        overflow_(session.trigger("overflow", {.combine = lockstep::Combine::min})),
        word_(overflow_, overflow_.stream_bit({.name = "overflow"})),
        communicator_(meet(session),
                      {static_cast<int>(session.rank()), static_cast<int>(session.size())}) {
    // NCCL connects its ranks in its first call: a sum of zeros. Then the memory is as it should
    // be.
    all_reduce();
    stream_.wait();
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  Trigger& overflow() noexcept { return overflow_; }

  void enqueue(std::uint64_t step) {
    const std::uint32_t count = layout_.size() + 1;
    const unsigned blocks = (count + kThreads - 1) / kThreads;
    const cudaStream_t stream = stream_.get();
    const float scale =
        1.0F / (static_cast<float>(options_.batch) * static_cast<float>(session_.size()));
    run_examples<<<options_.batch, kThreads, shared_floats(layout_) * sizeof(float), stream>>>(
        layout_, weights_.get(), data_, step, batch_);
    check_launch("run_examples");
    sum_gradients<<<blocks, kThreads, 0, stream>>>(layout_, batch_, data_, scale, gradients_.get());
    check_launch("sum_gradients");
    if (is_poisoned(step)) {
      poison<<<blocks, kThreads, 0, stream>>>(gradients_.get(), count);
      check_launch("poison");
    }
    check_gradients<<<blocks, kThreads, 0, stream>>>(gradients_.get(), count, progress_.get(),
                                                     word_.trigger(), step);
    check_launch("check_gradients");
    session_.job().stream_barrier(stream, {.name = "gradients"});
    all_reduce();
    update<<<blocks, kThreads, 0, stream>>>(weights_.get(), gradients_.get(), layout_.size(),
                                            options_.rate, progress_.get(), seen_.on_device(),
                                            word_.trigger(), step);
    check_launch("update");
  }

  struct Seen {
    std::uint64_t step;
    float loss;
  };
  /// How far the GPU is. Waits for nothing.
  Seen seen() const {
    const std::uint64_t word = seen_.read();
    return {word >> 32, std::bit_cast<float>(static_cast<std::uint32_t>(word))};
  }

  /// Lets the GPU come so near that the host is not too far ahead. Throws if it does not.
  void keep_near(std::uint64_t step) const {
    std::uint64_t last = seen().step;
    auto since = std::chrono::steady_clock::now();
    while (seen().step + kAhead < step) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
      communicator_.check_health();
      (void)session_.job().stream_barriers_over();  // throws if one has failed
      const auto now = std::chrono::steady_clock::now();
      if (const std::uint64_t next = seen().step; next != last) {
        last = next;
        since = now;
      } else if (now - since > kPatience) {
        throw std::runtime_error("the GPU has not ended step " + std::to_string(last + 1) + " in " +
                                 std::to_string(kPatience.count()) + " s: some rank is lost");
      }
    }
  }

  /// Waits for all that was enqueued.
  Trained finish(std::uint64_t enqueued) {
    Trained trained;
    Progress progress{};
    trained.weights.resize(layout_.size());
    weights_.download(trained.weights, stream_.get());
    progress_.download({&progress, 1}, stream_.get());
    stream_.wait();
    (void)session_.job().stream_barriers_over();  // throws if one has failed
    communicator_.check_health();
    communicator_.finish();
    trained.enqueued = enqueued;
    trained.applied = progress.applied;
    trained.bad_step = progress.bad_step;
    trained.loss = progress.loss;
    return trained;
  }

 private:
  /// One rank makes the name under which NCCL's parts find each other, and tells it to all.
  static ncclUniqueId meet(Session& session) {
    ncclUniqueId id{};
    const std::string bytes = session.job().once([&] {
      check(ncclGetUniqueId(&id), "ncclGetUniqueId");
      return std::string(id.internal, sizeof id.internal);
    });
    if (bytes.size() != sizeof id.internal) throw std::runtime_error("NCCL's id has another size");
    std::memcpy(id.internal, bytes.data(), sizeof id.internal);
    return id;
  }

  Batch make_batch() const {
    const std::size_t rows = options_.batch;
    float* at = floats_.get();
    const auto take = [&](std::size_t columns) { return std::exchange(at, at + rows * columns); };
    Batch batch{};
    batch.size = options_.batch;
    batch.chosen = chosen_.get();
    batch.input = take(kInputs);
    batch.input_slope = take(kInputs);
    batch.hidden = take(layout_.hidden);
    batch.hidden_slope = take(layout_.hidden);
    batch.output_slope = take(kSymbols);
    batch.loss = take(1);
    return batch;
  }

  bool is_poisoned(std::uint64_t step) const {
    return options_.poison && options_.poison->rank == session_.rank() &&
           options_.poison->step == step;
  }

  /// Parts of means are added up: no sum of finite ones is too large for a float.
  void all_reduce() {
    check(ncclAllReduce(gradients_.get(), gradients_.get(), layout_.size() + 1, ncclFloat, ncclSum,
                        communicator_.get(), stream_.get()),
          "ncclAllReduce");
  }

  Session& session_;
  const Options& options_;
  Layout layout_;
  Stream stream_;
  DeviceArray<float> weights_;
  DeviceArray<float> gradients_;
  DeviceArray<Progress> progress_;
  DeviceArray<std::uint8_t> examples_;
  Data data_;
  DeviceArray<std::uint32_t> chosen_;
  DeviceArray<float> floats_;
  Batch batch_;
  SharedWord seen_;
  Trigger overflow_;
  DeviceWord word_;
  Communicator communicator_;
};

void show(Session& session, const Options& options, const Trainer& trainer, std::uint64_t step) {
  const std::uint64_t stride = (options.steps + 9) / 10;
  if (step % stride != 0) return;
  const auto [done, loss] = trainer.seen();
  std::array<char, 96> line{};
  std::snprintf(line.data(), line.size(), "%10llu enqueued %10llu done   loss %.4f",
                static_cast<unsigned long long>(step), static_cast<unsigned long long>(done),
                static_cast<double>(loss));
  session.print(line.data(), lockstep::Scope::job);
}

}  // namespace

std::string take_gpu(const Session& session) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (count == 0) throw std::runtime_error("this process sees no GPU");
  const int ordinal = static_cast<int>(session.local_rank()) % count;
  check(cudaSetDevice(ordinal), "cudaSetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  return {properties.uuid.bytes, sizeof properties.uuid.bytes};
}

Trained train(Session& session, const Options& options, const Examples& examples) {
  Trainer trainer(session, options, examples);
  Trigger& overflow = trainer.overflow();
  std::optional<lockstep::TriggerReport> why;
  std::uint64_t step = 0;
  while (step < options.steps && !why) {
    trainer.enqueue(++step);
    if (overflow.poll()) why = overflow.report();  // in the same step on all ranks
    trainer.keep_near(step);
    show(session, options, trainer, step);
  }
  Trained trained = trainer.finish(step);
  // What was raised in steps that the host was ahead of: nobody has polled since.
  if (overflow.check() && !why) why = overflow.report();
  trained.why = why;
  return trained;
}

}  // namespace overflow
