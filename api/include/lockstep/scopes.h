/* lockstep's C interface, its third part: groups of ranks that share something, and "at most k at a
 * time". Part of lockstep/lockstep.h, whose conventions hold here. */
#ifndef LOCKSTEP_SCOPES_H
#define LOCKSTEP_SCOPES_H

#include "lockstep/lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- who shares something -------------------------------------------------------------------- */

/** The members of `parent` that share the caller's node, switch, file system ... : the group for
 * "one of them goes first", "at most k of them", "one of them saves". Collective over `parent`;
 * members pass the same scope.
 *
 * LOCKSTEP_PER_JOB          all members.
 * LOCKSTEP_PER_NODE, _NUMA  as `lockstep topo` shows them.
 * LOCKSTEP_PER_SWITCH       the lowest known switch above the node. Members of one node share it in
 *                           any case; on several nodes all have to be known.
 * LOCKSTEP_PER_FILE_SYSTEM  those who see the same files at `path`, whatever it is mounted from on
 *                           each of them: a name that only one can make decides (docs/scopes.md).
 *                           What is not there yet will be in the nearest folder above that is. A
 *                           path that is there for some members only is an error.
 * LOCKSTEP_PER_GPU_GROUP    those whose GPUs reach each other's memory without the host, one over
 *                           another if need be, or are the same one (docs/gpus.md). Every member
 *                           has to have one; the first such call decides which, for the whole
 *                           session: choose it before (cudaSetDevice, LOCKSTEP_GPU). GPUs of which
 *                           it cannot be told are apart, with a warning.
 *
 * Ownership: the group is borrowed from `parent`. It ends with it, or with the session, and must
 * not be freed. Asked again, the same group comes back, also if it is broken; and so it does for
 * any scope that divides `parent` in the same way: `parent` itself where all share it,
 * lockstep_session_local() where the job's nodes share nothing. Who needs a group of its own, for
 * another thread, splits.
 *
 * Costs a few rounds the first time. Asked again, a file system costs one round, as it may have
 * been mounted anew, and the other scopes none. The first call that asks for GPUs starts their
 * driver, which may take a second.
 *
 * @param path     For LOCKSTEP_PER_FILE_SYSTEM, otherwise ignored. Each member's own: it need not
 *                 be the same text.
 * @param count_p  May be NULL. How many such groups `parent` falls into.
 * @return LOCKSTEP_OK, or on every member: LOCKSTEP_E_IO: `path` is there for some only, who lack
 *         it are named; or a member cannot look at it; LOCKSTEP_E_UNSUPPORTED: no switch is known
 *         above a node, or members have no GPU: they are named, with the reason of the lowest;
 *         LOCKSTEP_E_LIMIT as lockstep_group_split(); the errors of a round. LOCKSTEP_E_INVALID:
 *         no such scope, no path; on every member: LOCKSTEP_GPU names no GPU that its rank sees. */
LOCKSTEP_API lockstep_status_t lockstep_group_of(lockstep_group_t parent, lockstep_scope_t scope,
                                                 const char *path, const lockstep_call_t *call,
                                                 lockstep_group_t *group_p, uint32_t *count_p);

/* ---- at most k at a time --------------------------------------------------------------------- */

/** Begins what at most `k` members of the group do at a time: for storms on a file system's
 * metadata, or memory that does not suffice for all. Collective, one begin per end; between the two
 * the group is used for nothing else. Per node or per file system: on the group of that scope.
 *
 * Members go in waves, in the order of their ranks: returns when the waves before this member's
 * are over. There is no time limit by default, as a wave may work for hours while its members are
 * alive, and a line on stderr says every 30 s (LOCKSTEP_REPORT) who is waited for.
 *
 * Costs one round per wave, size / k in all, and as long as the slowest of each wave: a member that
 * is done early gives its place to nobody. Good for work that takes all about as long; for other
 * work make k larger.
 *
 * @param k  1 or more, the same on all members.
 * @return LOCKSTEP_OK: do it, then lockstep_at_most_end(); LOCKSTEP_E_FIRST_FAILED: a member of an
 *         earlier wave failed, the text is its own with rank and host: do neither, as all who come
 *         later; LOCKSTEP_E_INVALID: k is 0, or members name different k; LOCKSTEP_E_STATE: this
 *         process is between begin and end already; the errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_at_most_begin(lockstep_group_t group, uint32_t k,
                                                      const lockstep_call_t *call);

/** Ends it, and returns when all members have done it, or one has failed: then the waves after its
 * own do not run, and all members get the text of the lowest that failed. The group goes on.
 *
 * @param failure  NULL: this member succeeded. Otherwise why not.
 * @return LOCKSTEP_OK; LOCKSTEP_E_FIRST_FAILED; LOCKSTEP_E_INVALID: members name different k;
 *         LOCKSTEP_E_STATE without lockstep_at_most_begin; the errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_at_most_end(lockstep_group_t group, const char *failure);

#ifdef __cplusplus
}
#endif
#endif
