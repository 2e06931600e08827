/* lockstep's C interface, its third part: byte strings that one rank makes, or every one, for all.
 * Part of lockstep/lockstep.h, whose conventions hold here. */
#ifndef LOCKSTEP_BYTES_H
#define LOCKSTEP_BYTES_H

#include "lockstep/lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Tells every member everybody's bytes. Collective. About 1 KiB travels per round.
 *
 * @param bytes, length  This member's, which may be none.
 * @param all_p      All of them, one after the other in the order of members; give it back with
 *                   lockstep_free().
 * @param lengths    Room for lockstep_group_size() lengths.
 * @return LOCKSTEP_OK; LOCKSTEP_E_LIMIT (more than LOCKSTEP_BYTES_MAX in all, then on every
 *         member); LOCKSTEP_E_INVALID; LOCKSTEP_E_RESOURCE; the errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_gather(lockstep_group_t group, const void *bytes,
                                               size_t length, const lockstep_call_t *call,
                                               void **all_p, size_t *lengths);

/** Most bytes that lockstep_once() hands on. */
#define LOCKSTEP_ONCE_MAX ((size_t)1 << 30)

/** Takes a piece of the bytes, in order; returns 0, or non-zero if it wants no more. */
typedef int (*lockstep_consumer_t)(const void *bytes, size_t length, void *context);

/** What is made once, and what every member does with it. */
typedef struct lockstep_once_work {
  size_t size; /**< set by the caller: sizeof(lockstep_once_work_t) */
  /** Runs on the member that goes first; what it writes to the descriptor is for all. Returns 0, or
   * non-zero for failure; `type` and `text`, or else errno, then say why. Called at most once on a
   * member. */
  lockstep_writer_t produce;
  void *produce_context;
  /** Runs on every member, also on the first. NULL: only the outcome matters. */
  lockstep_consumer_t consume;
  void *consume_context;
  /** Left by a producer that failed, for the others, as in lockstep_first_fail(); borrowed until
   * the call returns. */
  const char *type;
  const char *text;
} lockstep_once_work_t;

/** One member makes bytes, every member gets them, or its error. Collective: a section, whose
 * policies hold (LOCKSTEP_CONTINUE_ON_ERROR is refused: there would be nothing to go on with).
 *
 * Up to 700 bytes travel with the section's outcome and reach everybody whoever dies. What is
 * longer is kept in a file without a name in the temporary folder ($TMPDIR) of the first, and
 * streamed in rounds of 1 KiB, in bounded memory everywhere; for that all members must live, also
 * under LOCKSTEP_RETRY_NEXT.
 *
 * @return LOCKSTEP_OK: every piece was consumed here; LOCKSTEP_E_IO: this member's consumer wanted
 *         no more (the others are not affected), or, on the first, its producer failed;
 *         LOCKSTEP_E_LIMIT on the first: more than LOCKSTEP_ONCE_MAX, a failure for the others;
 *         the errors of lockstep_first_begin() and of a round. */
LOCKSTEP_API lockstep_status_t lockstep_once(lockstep_group_t group,
                                             const lockstep_section_t *section,
                                             lockstep_once_work_t *work,
                                             const lockstep_call_t *call);

#ifdef __cplusplus
}
#endif
#endif
