// Each member waits for its own streams; then one round says that all are done, or who is not.
#include "runtime/wait_on_streams.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/node/wait.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep {
namespace {

/// Nobody rings when a stream is done: that short are the naps after the first millisecond.
constexpr Nanos kNap = 50 * kMicrosecond;

struct Limits {
  Nanos timeout;
  Nanos deadline;
};

/// Says now and then that it is this rank that the others wait for.
class Report {
 public:
  Report(Group& group, const Call& call, std::size_t streams)
      : interval_(group.around().config.report), call_(call), streams_(streams) {}
  void look() {
    const Nanos time = now();
    if (time < next_) return;
    log::warn("{}: waits for its {} stream{} on the GPU since {} s", call_.text(), streams_,
              streams_ == 1 ? "" : "s", (time - start_) / kSecond);
    next_ = after(time, interval_);
  }

 private:
  Nanos interval_;
  Nanos start_ = now();
  Nanos next_ = after(start_, interval_);
  const Call& call_;
  std::size_t streams_;
};

Status drain(Gpus& gpus, Group& group, std::span<void* const> streams, const Call& call,
             const Limits& limits) {
  if (streams.empty()) return {};
  const Result<std::uint64_t> ticket = gpus.drain_start(streams);
  if (!ticket.ok()) return ticket.status();
  if (ticket.value() == 0) return {};
  node::Ladder ladder(group.around().policy);
  node::Bell bell{};
  Report report(group, call, streams.size());
  Status status = Status::again();
  const auto is_over = [&] {
    status = gpus.drain_test(ticket.value());
    return !status.is(LOCKSTEP_AGAIN);
  };
  while (ladder.climb(bell, is_over, kNap) != node::Waited::ready) {
    if (now() >= limits.deadline) {
      gpus.drain_drop(ticket.value());
      return {LOCKSTEP_E_RESOURCE,
              fmt::format("what was enqueued on its streams was not done in {} ms; it goes on",
                          limits.timeout / kMillisecond)};
    }
    report.look();
  }
  return status;
}

}  // namespace

Status wait_for_everyone_on(Gpus& gpus, Group& group, std::span<void* const> streams, Call call) {
  const Config& config = group.around().config;
  const Nanos timeout = call.timeout.value_or(config.timeout);
  const Limits limits{timeout, after(now(), timeout)};
  const Status mine = drain(gpus, group, streams, call, limits);
  // A member whose streams are late says so at its own deadline: the others wait for that.
  const Nanos left = limits.deadline == kNever ? kNever : limits.deadline - now();
  call.timeout = after(std::max(left, Nanos{0}), config.grace);
  return agree(group, call, mine);
}

}  // namespace lockstep
