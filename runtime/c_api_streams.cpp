// The C API of work on GPUs: checks arguments, passes on.
#include "lockstep/streams.h"
#include "runtime/agree.hpp"
#include "runtime/c_api_support.hpp"
#include "runtime/stream_barrier.hpp"
#include "runtime/triggers.hpp"
#include "runtime/wait_on_streams.hpp"

using namespace lockstep;
using namespace lockstep::c_api;

namespace {

/// The group's, made now if it has none. Who is in a capture cannot, and all are told.
Result<StreamBarrier*> barrier_of(Group& group, const Call& call, void* const* stream = nullptr) {
  Session& session = *the_session.load();
  if (StreamBarrier* const barrier = session.stream_barriers().find(group)) return barrier;
  Status ready;
  if (stream != nullptr) {
    const Result<std::uint64_t> ticket = session.gpus().drain_start({stream, 1});
    if (ticket.ok() && ticket.value() != 0) session.gpus().drain_drop(ticket.value());
    if (!ticket.ok() && ticket.status().is(LOCKSTEP_E_STATE)) {
      ready = {LOCKSTEP_E_STATE,
               "a group's first stream barrier cannot go into a CUDA graph: call "
               "lockstep_stream_barrier_prepare() before the capture"};
    }
  }
  if (Status status = agree(group, call, ready); !status.ok()) return status;
  return session.stream_barriers().prepare(group, call);
}

}  // namespace

static_assert(LOCKSTEP_STREAMS_MAX == LOCKSTEP_GPU_STREAMS_MAX);

extern "C" {

lockstep_status_t lockstep_wait_for_everyone_on(lockstep_group_t group, void* const* streams,
                                                uint32_t count, const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (streams == nullptr && count != 0) return invalid("streams is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    if (count > LOCKSTEP_STREAMS_MAX) {
      return keep({LOCKSTEP_E_LIMIT,
                   "more than 64 streams at once (LOCKSTEP_STREAMS_MAX); wait for "
                   "them in several calls"});
    }
    return pass_on(wait_for_everyone_on(the_session.load()->gpus(), *of(group), {streams, count},
                                        make_call(Operation::wait_for_everyone_on, call)));
  });
}

lockstep_status_t lockstep_stream_barrier_prepare(lockstep_group_t group,
                                                  const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const Call made = make_call(Operation::stream_barrier, call);
    const Result<StreamBarrier*> barrier = barrier_of(*of(group), made);
    return barrier.ok() ? LOCKSTEP_OK : keep(barrier.status());
  });
}

lockstep_status_t lockstep_stream_barrier(lockstep_group_t group, void* stream,
                                          const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const Call made = make_call(Operation::stream_barrier, call);
    const Result<StreamBarrier*> barrier = barrier_of(*of(group), made, &stream);
    return pass_on(barrier.ok() ? barrier.value()->enqueue(stream, made) : barrier.status());
  });
}

lockstep_status_t lockstep_stream_barrier_test(lockstep_group_t group, uint64_t number,
                                               uint32_t* bits_p, uint64_t* over_p) {
  if (!is_live(group)) return refuse(group);
  return guard([&] {
    StreamBarrier* const barrier = the_session.load()->stream_barriers().find(*of(group));
    if (barrier == nullptr) {
      return keep({LOCKSTEP_E_STATE,
                   "the group has no stream barriers yet: enqueue one, or call "
                   "lockstep_stream_barrier_prepare()"});
    }
    return pass_on(barrier->test(number, bits_p, over_p));
  });
}

lockstep_status_t lockstep_stream_barrier_bind(lockstep_trigger_t trigger,
                                               lockstep_stream_bit_t* bit_p,
                                               const lockstep_call_t* call) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (bit_p == nullptr) return invalid("bit_p is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const Trigger& one = *of(trigger);
    Call made = make_call(Operation::stream_bit, call);
    made.name = one.name().c_str();
    Group& group = one.owner().group();
    const Result<StreamBarrier*> barrier = barrier_of(group, made);
    if (!barrier.ok()) return keep(barrier.status());
    const Result<lockstep_stream_bit_t> bit = barrier.value()->bind(one.name(), made);
    if (!bit.ok()) return keep(bit.status());
    *bit_p = bit.value();
    return LOCKSTEP_OK;
  });
}

}  // extern "C"
