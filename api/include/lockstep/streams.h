/* lockstep's C interface, its part about work on GPUs. Part of lockstep/lockstep.h, whose
 * conventions hold here; docs/gpus.md. Needs no header of CUDA's. */
#ifndef LOCKSTEP_STREAMS_H
#define LOCKSTEP_STREAMS_H

#include "lockstep/lockstep.h"
#include "lockstep/triggers.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Most streams of one call. */
#define LOCKSTEP_STREAMS_MAX 64

/** lockstep_wait_for_everyone() for work on GPUs: when it returns, all that any member has enqueued
 * on its streams before its call has finished. Collective; members may name different streams and
 * numbers of them, also none.
 *
 * No kernel is run, no device is waited for, and other streams are left alone: an idle stream is
 * asked, any other writes a word of the host's memory when it has come that far. The first call
 * starts the GPU plugin and, for each context, page-locks 4 KiB.
 *
 * The call's time limit is that of the streams. Where they are not done in time, their member says
 * so and all get the text; the work goes on. Who does not come at all is missed LOCKSTEP_GRACE
 * after that limit, as in any round.
 *
 * @param streams  `count` of cudaStream_t or CUstream, none of which is destroyed meanwhile. NULL
 *                 among them is the legacy default stream of the thread's current context.
 * @param count    At most LOCKSTEP_STREAMS_MAX; with 0 `streams` may be NULL.
 * @return LOCKSTEP_OK, or on every member, with the text of the lowest that failed; the group goes
 *         on: LOCKSTEP_E_STATE: a stream is being captured into a CUDA graph, which is not broken
 *         by asking; LOCKSTEP_E_INVALID: one is no stream; LOCKSTEP_E_RESOURCE: a GPU has failed,
 *         or its streams were not done in time; LOCKSTEP_E_UNSUPPORTED: no GPU can be used here, or
 *         LOCKSTEP_GPU=none. Besides these the errors of lockstep_wait_for_everyone(). Only on the
 *         caller: LOCKSTEP_E_INVALID: `streams` is NULL with a count; LOCKSTEP_E_LIMIT. */
LOCKSTEP_API lockstep_status_t lockstep_wait_for_everyone_on(lockstep_group_t group,
                                                             void *const *streams, uint32_t count,
                                                             const lockstep_call_t *call);

/** Makes the group ready for stream barriers: collective, once, and by itself in the first
 * lockstep_stream_barrier(). It has to be called where that would be captured into a CUDA graph.
 *
 * Members whose GPUs reach each other's memory map 2 MiB of each other; others, and those on other
 * nodes, meet through their hosts, each by a thread of its own. The GPU is that of the
 * thread's current context, which has to be this rank's (docs/gpus.md).
 *
 * @return On every member: LOCKSTEP_OK; LOCKSTEP_E_UNSUPPORTED: somebody has no GPU, or it has no
 *         such barriers; LOCKSTEP_E_STATE: somebody's current context is on another GPU than it has
 *         been taken for; LOCKSTEP_E_RESOURCE. Besides these the errors of a split. */
LOCKSTEP_API lockstep_status_t lockstep_stream_barrier_prepare(lockstep_group_t group,
                                                               const lockstep_call_t *call);

/** Enqueues a barrier and returns: what any member enqueues on its stream after it starts when all
 * that every member has enqueued before it has finished, and sees what that has written, also in
 * another GPU's memory.
 *
 * May be captured into a CUDA graph, once the group is ready; every launch of the graph is the next
 * barrier. The group's barriers have an order, which is the same on all members: on one stream they
 * have it by themselves; over several streams of a member the caller orders them, by an event, or
 * gives each stream a group of its own.
 *
 * The call's time limit runs from the moment when the stream has come to the barrier. One that
 * fails holds no stream: what comes after it runs, kernels can see that it has failed, and the next
 * call of these about the group returns why. It and all later ones of this group have failed then;
 * the group that lockstep_group_shrink() gives those who are left has barriers of its own.
 *
 * Within a group of GPUs a kernel of one warp waits on its GPU: nothing that its peers wait for may
 * come behind it there.
 *
 * @param stream  cudaStream_t or CUstream; NULL: the legacy default stream.
 * @return LOCKSTEP_OK: it is enqueued. LOCKSTEP_E_STATE: in a capture before the group was ready.
 *         LOCKSTEP_E_INVALID: no stream, or of another GPU. LOCKSTEP_E_DEADLINE, LOCKSTEP_E_LOST:
 *         an earlier one has failed. The first call also has the errors of
 *         lockstep_stream_barrier_prepare(). */
LOCKSTEP_API lockstep_status_t lockstep_stream_barrier(lockstep_group_t group, void *stream,
                                                       const lockstep_call_t *call);

/** What has become of the group's stream barrier `number`, counted from 1, each launch of a graph
 * included. Local; waits for no stream.
 *
 * Barriers that were enqueued, or captured, after the group's first lockstep_stream_barrier_bind()
 * write their result to the host's memory; of earlier ones, which are quicker without, the GPU is
 * asked, which takes some 10 us.
 *
 * @param number   0: the last one that is over, be it the 0th.
 * @param bits_p   Gets what was raised for it (lockstep_stream_bit_t) on any member, the same on
 *                 all of them. NULL: not wanted.
 * @param over_p   Gets the number of the last one that is over. NULL: not wanted.
 * @return LOCKSTEP_OK; LOCKSTEP_AGAIN: it is not over; LOCKSTEP_E_LIMIT: its bits are forgotten,
 *         since more than 60 later ones are over, or it did not write them; LOCKSTEP_E_STATE: the
 *         group is not ready; LOCKSTEP_E_DEADLINE, LOCKSTEP_E_LOST: it has failed. */
LOCKSTEP_API lockstep_status_t lockstep_stream_barrier_test(lockstep_group_t group, uint64_t number,
                                                            uint32_t *bits_p, uint64_t *over_p);

/** How kernels raise a trigger for a stream barrier, and see what all have raised. */
typedef struct lockstep_stream_bit {
  uint32_t mask;          /**< of the trigger: one bit */
  uint32_t padding;       /**< 0 */
  uint32_t *raised;       /**< memory of the GPU: a kernel sets the bit, by atomicOr */
  const uint32_t *agreed; /**< memory of the GPU: what was raised for the last barrier, for kernels
                             behind it on its stream; bit 31: it has failed */
} lockstep_stream_bit_t;

/** Gives a trigger a bit in its group's stream barriers. Collective, as
 * lockstep_stream_barrier_prepare(), which it includes; asked again, the same one. What kernels
 * raise there does not set the trigger itself: lockstep/device.cuh does both by one call.
 *
 * @return LOCKSTEP_E_LIMIT: the group has given away all its 31 bits. */
LOCKSTEP_API lockstep_status_t lockstep_stream_barrier_bind(lockstep_trigger_t trigger,
                                                            lockstep_stream_bit_t *bit_p,
                                                            const lockstep_call_t *call);

#ifdef __cplusplus
}
#endif
#endif
