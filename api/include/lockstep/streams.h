/* lockstep's C interface, its part about work on GPUs. Part of lockstep/lockstep.h, whose
 * conventions hold here; docs/gpus.md. Needs no header of CUDA's. */
#ifndef LOCKSTEP_STREAMS_H
#define LOCKSTEP_STREAMS_H

#include "lockstep/lockstep.h"

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

#ifdef __cplusplus
}
#endif
#endif
