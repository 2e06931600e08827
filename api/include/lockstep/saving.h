/* lockstep's C interface, its second part: files and checkpoints that all ranks save together.
 * Part of lockstep/lockstep.h, whose conventions hold here.
 *
 * Structs of options begin with their size and grow at their end only: what a program was not
 * compiled with is 0. NULL options are all 0. */
#ifndef LOCKSTEP_SAVING_H
#define LOCKSTEP_SAVING_H

#include "lockstep/lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one file -------------------------------------------------------------------------------- */

/** Who saves. */
typedef enum lockstep_saver {
  LOCKSTEP_SAVER_MAIN = 0,      /**< the group's rank 0 */
  LOCKSTEP_SAVER_EVERY_RANK = 1, /**< everybody a file of its own: {rank} in the path is the rank in
                                      the job */
  LOCKSTEP_SAVER_EACH_FILE_SYSTEM = 2 /**< the lowest rank of those who see the same files in the
                                           path's folder (lockstep/scopes.h), which has to be there;
                                           finding that out is collective, also without flags */
} lockstep_saver_t;

/** The outcome of all is told to all: makes the call collective. */
#define LOCKSTEP_SAVE_WAIT 1u
/** Return when every node sees the new content, by size and hash; implies LOCKSTEP_SAVE_WAIT.
 * Caches of network file systems lag: NFS may show the old file for a minute. */
#define LOCKSTEP_SAVE_VISIBLE 2u
/** lockstep_checkpoint_save_async: return LOCKSTEP_AGAIN instead of waiting for an older save. */
#define LOCKSTEP_SAVE_NO_WAIT 4u

typedef struct lockstep_save_options {
  size_t size;    /**< set by the caller: sizeof(lockstep_save_options_t) */
  int32_t saver;  /**< lockstep_saver_t */
  uint32_t flags; /**< LOCKSTEP_SAVE_WAIT, LOCKSTEP_SAVE_VISIBLE */
} lockstep_save_options_t;

/** Saves as lockstep_save() does: on the group's main process, on every rank, or once on each file
 * system. Without flags nobody waits for anybody, and each member learns how its own file went;
 * with one the call is collective, and every member gets the same status: that of the lowest rank
 * that failed, with its rank and host in the text. Others' files may then have been saved.
 *
 * A replaced file keeps its permissions, and owner and group as far as the process may give them;
 * a file that loses its group loses what the group could do and others could not.
 *
 * @param call  Its timeout limits LOCKSTEP_SAVE_VISIBLE (default: two minutes). Writing may take as
 *              long as it takes, while everybody is alive.
 * @return LOCKSTEP_OK; LOCKSTEP_E_IO as lockstep_save(), or the content is saved but not visible
 *         everywhere in time; LOCKSTEP_E_INVALID (no {rank}, NULL); the errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_save_together(lockstep_group_t group, const char *path,
                                                      const lockstep_save_options_t *options,
                                                      lockstep_writer_t writer, void *context,
                                                      const lockstep_call_t *call);

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* A store is a folder, on a file system that all ranks share; a checkpoint is a folder in it, named
 * after its step: a part from each rank, and a manifest with their sizes and hashes, which is
 * written last. Without its manifest a checkpoint does not exist. One job, and one group of it,
 * saves into a store at a time; anybody may read. docs/saving.md has the format. */

typedef struct lockstep_checkpoint_options {
  size_t size;         /**< set by the caller: sizeof(lockstep_checkpoint_options_t) */
  uint32_t flags;      /**< LOCKSTEP_SAVE_VISIBLE, LOCKSTEP_SAVE_NO_WAIT */
  uint32_t in_flight;  /**< asynchronous saves of the group at a time; 0: one */
  uint64_t keep_last;  /**< afterwards keep so many of the highest steps only; 0: all */
  uint64_t keep_every; /**< and the steps that are multiples of this; 0: none */
} lockstep_checkpoint_options_t;

/** Saves a checkpoint. Collective; every member gets the same status.
 *
 * `writer` is called once on every member and fills its part. The main process commits the
 * checkpoint when all parts are on disk, and only then removes what is not to be kept, and what
 * killed saves have left. Saving a step again replaces it in one moment. `store` is made if its
 * parent folder is there.
 *
 * @return LOCKSTEP_OK: it exists, and survives a power loss; LOCKSTEP_E_IO: it does not, and
 *         nothing of it is left, with the text of the lowest rank that failed; LOCKSTEP_E_INVALID,
 *         also when members pass different steps; LOCKSTEP_E_LOST and the other errors of a round:
 *         it does not exist, unless the main process had committed it when the group broke; what is
 *         left of it goes with the next save. */
LOCKSTEP_API lockstep_status_t lockstep_checkpoint_save(
    lockstep_group_t group, const char *store, uint64_t step,
    const lockstep_checkpoint_options_t *options, lockstep_writer_t writer, void *context,
    const lockstep_call_t *call);

/** What a checkpoint is. */
typedef struct lockstep_checkpoint {
  size_t size; /**< set by the caller: sizeof(lockstep_checkpoint_t) */
  uint64_t step;
  uint64_t bytes; /**< of all parts */
  uint32_t parts; /**< ranks of the group that saved it */
  uint32_t reserved;
} lockstep_checkpoint_t;

/** lockstep_checkpoint_latest: compare sizes only, and read no part. */
#define LOCKSTEP_CHECKPOINT_SIZES_ONLY 1u

/** Finds the newest checkpoint that is whole: the highest step whose parts have the sizes and
 * hashes of the manifest. One rank decides, all check a share of the parts, all are told the same.
 * One that is damaged is passed over with a warning that names it. Collective.
 *
 * @param found_p       1, or 0: there is none (then nothing else is set).
 * @return LOCKSTEP_OK; LOCKSTEP_E_IO: the store cannot be read; the errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_checkpoint_latest(lockstep_group_t group, const char *store,
                                                          uint32_t flags,
                                                          const lockstep_call_t *call, int *found_p,
                                                          lockstep_checkpoint_t *checkpoint_p);

/** A part of a checkpoint while it is read. */
typedef struct lockstep_part *lockstep_part_t;

/** Takes what it wants of a part; returns 0, or non-zero to give up. */
typedef int (*lockstep_reader_t)(lockstep_part_t part, void *context);

/** Told how far reading is, once per MiB and at each part's end. */
typedef void (*lockstep_progress_t)(uint64_t done, uint64_t total, void *context);

typedef struct lockstep_load_options {
  size_t size; /**< set by the caller: sizeof(lockstep_load_options_t) */
  lockstep_progress_t progress;
  void *progress_context;
} lockstep_load_options_t;

/** Reads a checkpoint. Collective; every member gets the same status.
 *
 * `reader` is called once for each of this member's parts: in a group as large as the one that
 * saved it that is the part of the same rank, and otherwise a contiguous share, of which there may
 * be none. The hash is checked while the part is read: what `reader` has taken is good when this
 * call returns LOCKSTEP_OK, and not before.
 *
 * @return LOCKSTEP_OK; LOCKSTEP_E_STATE: there is no checkpoint of that step, or it has been
 *         removed or replaced meanwhile; LOCKSTEP_E_IO: it is damaged, or a reader gave up; the
 *         errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_checkpoint_load(lockstep_group_t group, const char *store,
                                                        uint64_t step,
                                                        const lockstep_load_options_t *options,
                                                        lockstep_reader_t reader, void *context,
                                                        const lockstep_call_t *call);

/** Reads any one part, as lockstep_checkpoint_load() does. Local, no session needed.
 * @return as lockstep_checkpoint_load; LOCKSTEP_E_INVALID: there is no such part. */
LOCKSTEP_API lockstep_status_t lockstep_checkpoint_read(const char *store, uint64_t step,
                                                        uint32_t part,
                                                        const lockstep_load_options_t *options,
                                                        lockstep_reader_t reader, void *context);

/** The next bytes of the part, for its reader only.
 * @param length_p  How many; 0 only at the end, and then the hash is right.
 * @return LOCKSTEP_OK; LOCKSTEP_E_IO: unreadable or damaged. */
LOCKSTEP_API lockstep_status_t lockstep_part_read(lockstep_part_t part, void *bytes,
                                                  size_t capacity, size_t *length_p);
/** Which part it is: the rank that saved it. */
LOCKSTEP_API uint32_t lockstep_part_index(lockstep_part_t part);
/** Parts that the checkpoint has. */
LOCKSTEP_API uint32_t lockstep_part_count(lockstep_part_t part);
/** Bytes of this part. */
LOCKSTEP_API uint64_t lockstep_part_size(lockstep_part_t part);

/* ---- saving while the program goes on -------------------------------------------------------- */

/** A save that was started and whose end is not known yet. */
typedef struct lockstep_saving *lockstep_saving_t;

/** Gives bytes back; called once, on any thread. */
typedef void (*lockstep_release_t)(void *context);

/** Starts to save a checkpoint of which this member's part is `bytes`, and returns while a thread
 * of its own writes them. Called by every member; waits for nobody, unless the group has as many
 * saves going as it may (options->in_flight): then it first ends the oldest as
 * lockstep_saving_wait() would, or with LOCKSTEP_SAVE_NO_WAIT tests it, and returns LOCKSTEP_AGAIN
 * if it is not over; both are collective. The checkpoint exists when lockstep_saving_wait() or
 * _test() has returned LOCKSTEP_OK: nothing is agreed on behind the caller's back.
 *
 * @param release  NULL: the bytes are copied, and may be changed at once. Otherwise they must stay
 *                 as they are until release(release_context) is called; which happens only if this
 *                 call returns LOCKSTEP_OK.
 * @param saving_p  Give it back with lockstep_saving_free(), before `group`.
 * @return LOCKSTEP_OK; LOCKSTEP_AGAIN; LOCKSTEP_E_INVALID; LOCKSTEP_E_RESOURCE. */
LOCKSTEP_API lockstep_status_t lockstep_checkpoint_save_async(
    lockstep_group_t group, const char *store, uint64_t step,
    const lockstep_checkpoint_options_t *options, const void *bytes, size_t length,
    lockstep_release_t release, void *release_context, const lockstep_call_t *call,
    lockstep_saving_t *saving_p);

/** Have all members written their parts? If so, commits the checkpoint. Collective; one round and
 * the same answer for all. @return LOCKSTEP_OK; LOCKSTEP_AGAIN; as lockstep_checkpoint_save. */
LOCKSTEP_API lockstep_status_t lockstep_saving_test(lockstep_saving_t saving,
                                                    const lockstep_call_t *call);
/** Waits for all parts and commits the checkpoint. Collective. May be repeated: then it returns the
 * same at once. @return as lockstep_checkpoint_save. */
LOCKSTEP_API lockstep_status_t lockstep_saving_wait(lockstep_saving_t saving,
                                                    const lockstep_call_t *call);
/** How much of this member's part has been handed to the file system. Local. */
LOCKSTEP_API lockstep_status_t lockstep_saving_progress(lockstep_saving_t saving, uint64_t *done_p,
                                                        uint64_t *total_p);
/** Gives the handle back. Local. A save whose end nobody has waited for is given up, and leaves
 * nothing. NULL is allowed; so is a handle of a session that has been left. */
LOCKSTEP_API void lockstep_saving_free(lockstep_saving_t saving);

#ifdef __cplusplus
}
#endif
#endif
