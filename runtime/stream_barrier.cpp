// The GPUs do the work. A thread looks whether somebody is gone, and on members that lead a circle
// it meets the leaders of the others, in rounds of a group of their own.
#include "runtime/stream_barrier.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/node/wait.hpp"

namespace lockstep {
namespace {

constexpr Nanos kLook = 250 * kMillisecond;
/// The longer nobody has come, the longer are the naps: about as much later than needed.
constexpr Nanos kNapShare = 64;
constexpr Nanos kNapMin = 50 * kMicrosecond;
constexpr Nanos kNapMax = kMillisecond;
constexpr unsigned kBits = 31;
/// In a round of leaders, beside the bits: a circle has failed.
constexpr std::uint64_t kCircleFailed = std::uint64_t{1} << 63;

Call round_of_leaders(Nanos timeout) {
  Call call{Operation::stream_barrier};
  call.timeout = timeout;
  return call;
}

}  // namespace

StreamBarrier::StreamBarrier(Gpus& gpus, Group& group, Made made)
    : gpus_(gpus), group_(group), made_(std::move(made)), results_(line()) {
  attendant_ = std::make_unique<progress::Lookout>(
      bell_, [this, post = Post{}]() mutable { return attend(post); });
}

StreamBarrier::~StreamBarrier() {
  // Until its GPU is done that may need the attendant.
  gpus_.close(made_.barrier, [this] { attendant_.reset(); });
}

Status StreamBarrier::enqueue(void* stream, const Call& call) {
  if (Status status = failure(); !status.ok()) return status;
  const Nanos limit = call.timeout.value_or(group_.around().config.timeout);
  bool is_captured = false;
  const bool reports = reports_.load(std::memory_order_relaxed);
  if (!reports) has_mute_.store(true, std::memory_order_relaxed);
  Status status = gpus_.enqueue(*made_.barrier, stream, limit, reports, is_captured);
  if (!status.ok()) return {status.code(), fmt::format("{}: {}", call.text(), status.text())};
  if (is_captured) is_captured_.store(true, std::memory_order_relaxed);
  enqueued_.fetch_add(1, std::memory_order_release);
  if (carries()) node::ring(bell_);
  return {};
}

Result<StreamBarrier::Seen> StreamBarrier::see(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  Seen seen{results_.over(), std::nullopt};
  std::optional<gpu::Barrier::Last> last;
  if (has_mute_.load(std::memory_order_relaxed) && (number == 0 || number > seen.over)) {
    // Another thread may be in the plugin for as long as the GPU waits, which fail() ends.
    lock.unlock();
    Result<gpu::Barrier::Last> asked = gpus_.ask(*made_.barrier);
    if (!asked.ok()) return asked.status();
    lock.lock();
    last = *asked;
    results_.note(last->number);
    seen.over = results_.over();
  }
  const std::uint64_t wanted = number == 0 ? seen.over : number;
  if (wanted == 0) {
    seen.low = 0;
  } else if (last && last->number == wanted) {
    seen.low = last->low;
  } else if (const auto word = results_.word(wanted)) {
    seen.low = static_cast<std::uint32_t>(*word);
  }
  return seen;
}

Status StreamBarrier::test(std::uint64_t number, std::uint32_t* bits, std::uint64_t* over) {
  const Result<Seen> seen = see(number);
  if (!seen.ok()) return seen.status();
  const auto& [last, low] = seen.value();
  if (over != nullptr) *over = last;
  if (number > last) return Status::again();
  // What is known of one that has passed counts, whatever became of later ones.
  if (low && !gpu::is_broken(*low)) {
    if (bits != nullptr) *bits = *low;
    return {};
  }
  if (Status status = failure(); !status.ok()) return status;
  if (bits == nullptr) return {};
  return {LOCKSTEP_E_LIMIT,
          fmt::format("the result of stream barrier {} is forgotten, since {} are over: look "
                      "within {} barriers, and give triggers their bits before them",
                      number, last, LOCKSTEP_GPU_RESULTS - 4)};
}

Result<lockstep_stream_bit_t> StreamBarrier::bind(const std::string& trigger, const Call& call) {
  node::Words all;
  if (Status status = group_.round(call, {}, &all); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  const auto known = bits_.find(trigger);
  const auto bit = known != bits_.end() ? known->second : static_cast<std::uint32_t>(bits_.size());
  if (bit >= kBits) {
    return Status(LOCKSTEP_E_LIMIT,
                  fmt::format("{}: the group's stream barriers have {} bits, and all of them are "
                              "given away",
                              call.text(), kBits));
  }
  bits_.emplace(trigger, bit);
  reports_.store(true, std::memory_order_relaxed);
  const lockstep_gpu_barrier_view_t& view = made_.barrier->view();
  return lockstep_stream_bit_t{std::uint32_t{1} << bit, 0, view.raised, view.agreed};
}

Nanos StreamBarrier::attend(Post& post) {
  const Nanos time = now();
  const std::uint64_t enqueued = enqueued_.load(std::memory_order_acquire);
  if (enqueued != post.enqueued || post.active == 0) {
    post.enqueued = enqueued;
    post.active = time;
  }
  if (time >= post.look_at) {
    look();
    post.look_at = after(time, kLook);
  }
  if (!carries() || post.has_told) return kLook;
  if (has_failed()) {
    post.has_told = true;
    tell_leaders(post.next);
    return kLook;
  }
  if (gpu::is_of(gpu::load(line().arrived), post.next)) {
    post.has_told = !carry(post.next++);
    post.active = now();
    return 0;
  }
  return pause(post, time);
}

/// Nobody rings when a GPU has come to a barrier: so it is looked at often where one is expected.
Nanos StreamBarrier::pause(const Post& post, Nanos time) const {
  const bool expects = is_captured_.load(std::memory_order_relaxed) || post.enqueued >= post.next;
  if (!expects) return kLook;
  const node::WaitPolicy& policy = group_.around().policy;
  const Nanos idle = time - post.active;
  if (idle >= after(policy.spin, policy.yield)) {
    return std::clamp(idle / kNapShare, kNapMin, kNapMax);
  }
  if (idle >= policy.spin) sched_yield();
  return 0;
}

/// All of this circle have come; waits for the other circles, and lets this one go. False: it has
/// failed, and the others know.
bool StreamBarrier::carry(std::uint64_t number) {
  const auto bits = static_cast<std::uint32_t>(gpu::load(line().arrived));
  const std::uint64_t limit_ns = gpu::load(line().limit_ns);
  const Nanos limit = limit_ns == 0 ? kNever : static_cast<Nanos>(limit_ns);
  node::Words all;
  Status status = made_.leaders->round(round_of_leaders(limit), {bits, {}}, &all);
  if (status.ok() && (all.word & kCircleFailed) != 0) {
    status = {LOCKSTEP_E_LOST,
              "stream_barrier: it has failed for members elsewhere, which say why"};
  }
  if (!status.ok()) fail(status);
  gpu::store(line().released,
             gpu::word_of(
                 number, status.ok() ? static_cast<std::uint32_t>(all.word) : LOCKSTEP_GPU_BROKEN));
  return status.ok();
}

/// The other circles wait for this one in their next round; who is not there soon finds out from
/// the round itself.
void StreamBarrier::tell_leaders(std::uint64_t number) {
  node::Words all;
  (void)made_.leaders->round(round_of_leaders(group_.around().config.grace), {kCircleFailed, {}},
                             &all);
  gpu::store(line().released, gpu::word_of(number, LOCKSTEP_GPU_BROKEN));
}

/// For trouble: a member here is gone, or the GPU says that the barrier has failed.
void StreamBarrier::look() {
  if (has_failed()) return;
  if (const std::vector<Rank> gone = group_.gone_here(); !gone.empty()) {
    std::vector<Rank> members;
    for (const Rank rank : gone) {
      const auto& ranks = group_.ranks();
      members.push_back(
          static_cast<Rank>(std::lower_bound(ranks.begin(), ranks.end(), rank) - ranks.begin()));
    }
    fail({LOCKSTEP_E_LOST, fmt::format("stream_barrier: gone: {}", member_names(group_, members)),
          gone});
    return;
  }
  (void)failure();
}

/// The first failure stands. The GPU lets its stream go.
void StreamBarrier::fail(Status status) {
  std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = std::move(status);
  has_failed_.store(true, std::memory_order_release);
  gpu::store(line().give_up, 1);
}

Status StreamBarrier::failure() {
  if (!has_failed()) {
    const std::uint64_t cause = gpu::load(line().cause);
    if (cause == LOCKSTEP_GPU_WHOLE) return {};
    fail(failure_by_gpu(cause));
  }
  std::lock_guard lock(mutex_);
  return failure_;
}

Status StreamBarrier::failure_by_gpu(std::uint64_t cause) const {
  const std::uint64_t missing = gpu::load(line().missing);
  std::vector<Rank> members;
  for (std::size_t i = 0; i < made_.circle.size(); ++i) {
    if ((missing >> i & 1) != 0) members.push_back(made_.circle[i]);
  }
  if (members.empty()) {
    return {LOCKSTEP_E_LOST, "stream_barrier: it has failed for another member, which says why"};
  }
  std::vector<Rank> ranks;
  for (const Rank member : members) ranks.push_back(group_.ranks()[member]);
  const bool is_late = cause == LOCKSTEP_GPU_LATE;
  return {is_late ? LOCKSTEP_E_DEADLINE : LOCKSTEP_E_LOST,
          fmt::format("stream_barrier: not there {}: {}",
                      is_late ? "at the deadline" : "when another member gave up",
                      member_names(group_, members)),
          ranks};
}

}  // namespace lockstep
