/* lockstep's C interface: wait for everyone, let one go first, act together on a trigger.
 *
 * Conventions. Every call that can fail returns a lockstep_status_t (lockstep/error.h); the text of
 * the last failure on the calling thread is lockstep_last_error(). Outputs come last, end in _p and
 * are set only on LOCKSTEP_OK. Times are nanoseconds of CLOCK_MONOTONIC. Handles are opaque.
 *
 * Threads. A session may be used from any thread; one group is used by one thread at a time. Calls
 * on different groups may run at once. "Collective" means: every member of the group makes the same
 * calls on it in the same order. */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stddef.h>
#include <stdint.h>

#include "lockstep/error.h"

#if defined(__GNUC__)
#define LOCKSTEP_API __attribute__((visibility("default")))
#else
#define LOCKSTEP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LOCKSTEP_VERSION_MAJOR 0
#define LOCKSTEP_VERSION_MINOR 1
#define LOCKSTEP_VERSION_PATCH 0

/** Timeout values: use the configured default (LOCKSTEP_TIMEOUT), or never give up. */
#define LOCKSTEP_DEFAULT ((int64_t)0)
#define LOCKSTEP_FOREVER ((int64_t)-1)

/** This process's membership in the job. */
typedef struct lockstep_session *lockstep_session_t;
/** An ordered set of ranks: the job, a node, or the result of a split. */
typedef struct lockstep_group *lockstep_group_t;

/** Where and how a call is made. NULL is allowed everywhere and means: unnamed, unknown place,
 * default timeout. The strings are borrowed and must live until the call (or its wait) returns. */
typedef struct lockstep_call {
  const char *name;   /**< optional; members must agree on it, a different name is a mismatch */
  const char *file;   /**< optional; shown in reports, never compared */
  uint32_t line;      /**< optional; shown in reports, never compared */
  int64_t timeout_ns; /**< LOCKSTEP_DEFAULT, LOCKSTEP_FOREVER, or nanoseconds from the call */
} lockstep_call_t;

#ifndef __cplusplus
/** The caller's place, with a name: lockstep_wait_for_everyone(job, LOCKSTEP_HERE("epoch end")). */
#define LOCKSTEP_HERE(text) (&(lockstep_call_t){(text), __FILE__, __LINE__, LOCKSTEP_DEFAULT})
#endif

/* ---- errors ---------------------------------------------------------------------------------- */

/** Text of the last failure on this thread: what happened, why, what to do. Never NULL; valid until
 * the thread's next failing call. */
LOCKSTEP_API const char *lockstep_last_error(void);

/** Job ranks that the last failure on this thread named as missing, in ascending order.
 *
 * @param ranks     Room for `capacity` ranks; may be NULL when capacity is 0.
 * @return How many ranks are missing in all; at most `capacity` of them were written. */
LOCKSTEP_API size_t lockstep_last_missing(uint32_t *ranks, size_t capacity);

/** Name of a status code, e.g. "deadline". Never NULL. */
LOCKSTEP_API const char *lockstep_status_name(lockstep_status_t status);

/** "0.1.0". */
LOCKSTEP_API const char *lockstep_version(void);

/* ---- session --------------------------------------------------------------------------------- */

/** Joins the job this process was started in. Collective over the job.
 *
 * Finds out who it is from PMIx, or from what the launcher left in the environment; a process that
 * no launcher started is a job of one. A process that is one of many without a way to reach the
 * others is refused (LOCKSTEP_E_IDENTITY), never treated as "rank 0 of 1".
 *
 * One session per process at a time; after lockstep_session_leave it may join again only as far as
 * the launcher allows (most do not).
 *
 * @param session_p  The new session; give it back with lockstep_session_leave().
 * @return LOCKSTEP_OK; LOCKSTEP_E_CONFIG, LOCKSTEP_E_IDENTITY, LOCKSTEP_E_BOOTSTRAP,
 *         LOCKSTEP_E_TRANSPORT, LOCKSTEP_E_RESOURCE: no session; the text says what to type;
 *         LOCKSTEP_E_STATE if this process has one already, or is a fork of a rank.
 *
 * A fork of a rank is no rank: in it every call returns LOCKSTEP_E_STATE, also leave, and nothing
 * that it does counts as the rank's. */
LOCKSTEP_API lockstep_status_t lockstep_session_join(lockstep_session_t *session_p);

/** Leaves. Local: does not wait for the others, but delivers what it has promised them. Members
 * that need this process later get LOCKSTEP_E_LOST. Frees every group of the session. NULL is
 * allowed. @return LOCKSTEP_OK; LOCKSTEP_E_STATE if it has been left, or in a fork. */
LOCKSTEP_API lockstep_status_t lockstep_session_leave(lockstep_session_t session);

/* What follows returns UINT32_MAX, NULL or 0 for NULL and for a session that has been left. */

/** This process in the job: 0 .. size-1. */
LOCKSTEP_API uint32_t lockstep_session_rank(lockstep_session_t session);
/** Processes in the job. */
LOCKSTEP_API uint32_t lockstep_session_size(lockstep_session_t session);
/** This process among those of its node: 0 .. local_size-1, in the order of job ranks. */
LOCKSTEP_API uint32_t lockstep_session_local_rank(lockstep_session_t session);
/** Processes of this job on this node. */
LOCKSTEP_API uint32_t lockstep_session_local_size(lockstep_session_t session);
/** This node: 0 .. node_count-1. */
LOCKSTEP_API uint32_t lockstep_session_node(lockstep_session_t session);
/** Nodes that the job runs on. */
LOCKSTEP_API uint32_t lockstep_session_node_count(lockstep_session_t session);
/** Host name of the node that `rank` runs on; NULL if there is no such rank. Borrowed. */
LOCKSTEP_API const char *lockstep_session_host(lockstep_session_t session, uint32_t rank);

/** 1 on rank 0, else 0. */
LOCKSTEP_API int lockstep_is_main_process(lockstep_session_t session);
/** 1 on local rank 0 of each node, else 0. */
LOCKSTEP_API int lockstep_is_local_main_process(lockstep_session_t session);
/** 1 on rank size-1, else 0. */
LOCKSTEP_API int lockstep_is_last_process(lockstep_session_t session);

/** How often the scheduler has started this job before (SLURM_RESTART_COUNT); 0 at first. */
LOCKSTEP_API uint32_t lockstep_session_restarts(lockstep_session_t session);

/** One of the session's counters: "rounds", "frames_sent", "frames_received", "frames_rejected",
 * "bytes_sent", "sleeps", "fences", "groups".
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID if there is no such counter. */
LOCKSTEP_API lockstep_status_t lockstep_session_counter(lockstep_session_t session,
                                                        const char *name, uint64_t *value_p);

/* ---- groups ---------------------------------------------------------------------------------- */

/** The whole job. Borrowed from the session. */
LOCKSTEP_API lockstep_group_t lockstep_session_job(lockstep_session_t session);
/** The ranks of this node. Borrowed from the session. */
LOCKSTEP_API lockstep_group_t lockstep_session_local(lockstep_session_t session);

/** Makes one new group per colour. Collective over `parent`.
 *
 * @param colour   Members with the same colour form a group, ordered by their rank in the job.
 *                 LOCKSTEP_NO_GROUP: this member joins none and gets NULL.
 * @param group_p  Owned by the caller: lockstep_group_free().
 * @return LOCKSTEP_OK; LOCKSTEP_E_LIMIT when a node has no room for another group (64 at a time),
 *         then on every member; the errors of lockstep_wait_for_everyone. */
#define LOCKSTEP_NO_GROUP UINT32_MAX
LOCKSTEP_API lockstep_status_t lockstep_group_split(lockstep_group_t parent, uint32_t colour,
                                                    const lockstep_call_t *call,
                                                    lockstep_group_t *group_p);

/** The group of those who are left: after a call that has returned LOCKSTEP_E_LOST or
 * LOCKSTEP_E_DEADLINE the survivors call this and go on. Collective over them; needs no round of
 * the group, which may be broken, and leaves it as it is.
 *
 * Every member that lives has to come, and is waited for until the time limit of the first of them
 * has passed; who has not come then is left out, and told so when it comes. All who are left get
 * the same group, in the ranks' old order, with triggers and sections of its own, and stream
 * barriers in memory of their own. If one more is lost meanwhile, it is done again, in the group
 * that was made.
 *
 * A process that has ended, and was reaped, is noticed by those of its node who wait. Of a node
 * whose processes have all ended, or which nobody can reach, that is not known: it costs the limit.
 * Nodes that are cut off from each other, and both go on, do so apart. Where every node has lost
 * the rank that led it from the beginning (its lowest), the rest cannot find each other.
 *
 * @param group_p  Gets the new group; to be given back by lockstep_group_free().
 * @return LOCKSTEP_OK, be it that this process alone is left.
 *         LOCKSTEP_E_LOST: the others go on without this process, which came too late; end it.
 *         LOCKSTEP_E_DEADLINE: the nodes have not agreed in time, eight times LOCKSTEP_GRACE after
 *         the limit at the latest.
 *         LOCKSTEP_E_LIMIT: no room for another group on this node (64 at a time), or those who are
 *         missing are more than 128 separate runs of members.
 *         LOCKSTEP_E_UNSUPPORTED: on several nodes, over a transport without frames (pmix_fence).
 *         LOCKSTEP_E_BUSY: this member has arrived in a round and not waited for it. */
LOCKSTEP_API lockstep_status_t lockstep_group_shrink(lockstep_group_t group,
                                                     const lockstep_call_t *call,
                                                     lockstep_group_t *group_p);

/** Gives a group made by split or shrink back. Local. NULL is allowed; the job and the node's group
 * are the session's and are left alone. */
LOCKSTEP_API void lockstep_group_free(lockstep_group_t group);

/** This process in the group: 0 .. size-1. */
LOCKSTEP_API uint32_t lockstep_group_rank(lockstep_group_t group);
/** Members of the group. */
LOCKSTEP_API uint32_t lockstep_group_size(lockstep_group_t group);
/** Job rank of a member; UINT32_MAX if there is no such member. */
LOCKSTEP_API uint32_t lockstep_group_member(lockstep_group_t group, uint32_t group_rank);

/* ---- wait for everyone ----------------------------------------------------------------------- */

/** Returns when every member of the group has called it. Collective.
 *
 * What a member wrote to memory or files of its node before the call is visible to every member of
 * the node after it.
 *
 * @return LOCKSTEP_OK on every member, or on every live member one of
 *         LOCKSTEP_E_DEADLINE  somebody was missing when the timeout had passed,
 *                              see lockstep_last_missing();
 *         LOCKSTEP_E_MISMATCH  members are in different calls;
 *         LOCKSTEP_E_LOST      a member has left, died or does not answer:
 *         the group is broken for good and later calls on it return the same;
 *         LOCKSTEP_E_BUSY      this member has arrived in a round and not waited for it. */
LOCKSTEP_API lockstep_status_t lockstep_wait_for_everyone(lockstep_group_t group,
                                                          const lockstep_call_t *call);

/** First half of wait_for_everyone: announces this member and returns at once. Collective.
 * @return LOCKSTEP_OK; LOCKSTEP_E_BUSY if a round is open here; errors as above. */
LOCKSTEP_API lockstep_status_t lockstep_arrive(lockstep_group_t group, const lockstep_call_t *call);

/** Second half: looks whether everyone has arrived. Where ranks share cores it gives the core away
 * once before it returns LOCKSTEP_AGAIN.
 * @return LOCKSTEP_OK (the round is over); LOCKSTEP_AGAIN; LOCKSTEP_E_STATE without
 *         lockstep_arrive; errors as above. */
LOCKSTEP_API lockstep_status_t lockstep_test(lockstep_group_t group);

/** Second half: waits until everyone has arrived. The timeout is that of the matching arrive.
 * @return LOCKSTEP_OK; LOCKSTEP_E_STATE without lockstep_arrive; errors as above. */
LOCKSTEP_API lockstep_status_t lockstep_wait(lockstep_group_t group);

/* ---- one goes first -------------------------------------------------------------------------- */

/** What becomes of a section whose first fails or dies. */
typedef enum lockstep_policy {
  LOCKSTEP_PROPAGATE = 0,         /**< the others get its error and do not do the work */
  LOCKSTEP_RETRY_NEXT = 1,        /**< the next rank of the group goes first, and so on; if none
                                       succeeds, as LOCKSTEP_PROPAGATE with the last one's error */
  LOCKSTEP_CONTINUE_ON_ERROR = 2, /**< the others do the work as if it had succeeded */
  LOCKSTEP_ABORT_JOB = 3          /**< every rank that learns of it says so and ends its process
                                       with status LOCKSTEP_ABORT_STATUS */
} lockstep_policy_t;
#define LOCKSTEP_ABORT_STATUS 70

/** How a section is to be. Members must agree on it. */
typedef struct lockstep_section {
  size_t size;          /**< set by the caller: sizeof(lockstep_section_t) */
  int32_t policy;       /**< lockstep_policy_t */
  int32_t exit_barrier; /**< 1: nobody leaves the section before everybody is done in it; not after
                             a first that died, since it cannot come */
} lockstep_section_t;

/** Opens a section in which one goes first: the group's rank 0, or under LOCKSTEP_RETRY_NEXT who
 * comes after it when it fails. Collective, one begin per end.
 *
 * On the first it returns at once. On the others it returns when the first has ended its section.
 * There is no time limit by default: the first may work for hours, and a line on stderr says every
 * 30 s (LOCKSTEP_REPORT) who is waited for. Sections nest in any order and on any groups. Other
 * collective calls on the same group are refused on the first (LOCKSTEP_E_STATE), since the others
 * wait for it.
 *
 * @param section  NULL: LOCKSTEP_PROPAGATE, without exit barrier.
 * @return LOCKSTEP_OK: do the work, then lockstep_first_end();
 *         LOCKSTEP_E_FIRST_FAILED: the first's section failed, lockstep_last_error() is its text
 *         with rank and host; do not do the work and do not call lockstep_first_end();
 *         LOCKSTEP_E_LOST: the same, and the first is gone; all live members agree on that;
 *         LOCKSTEP_E_DEADLINE: the same, and a timeout that was asked for has passed here;
 *         LOCKSTEP_E_INVALID: the first's section has another name or policy; do neither, the group
 *         goes on; LOCKSTEP_E_UNSUPPORTED: LOCKSTEP_RETRY_NEXT over a transport without frames.
 *         A member that leaves a section out is found at the group's next round, as a mismatch. */
LOCKSTEP_API lockstep_status_t lockstep_first_begin(lockstep_group_t group,
                                                    const lockstep_section_t *section,
                                                    const lockstep_call_t *call);

/** 1 if this process goes first in the innermost open section of the group, else 0. */
LOCKSTEP_API int lockstep_is_first(lockstep_group_t group);

/** Ends the section with success. On the first it lets the others go and does not wait for them
 * (only when it is 32 sections ahead of somebody, or the section has an exit barrier).
 * @return LOCKSTEP_OK; LOCKSTEP_E_STATE without lockstep_first_begin; LOCKSTEP_E_LOST: the others
 *         took this rank for dead; the errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_first_end(lockstep_group_t group);

/** Ends the section with failure; on ranks that do not go first the same as lockstep_first_end().
 * @param type  What kind of failure, for programs: an exception's type; NULL: none (64 bytes).
 * @param text  Why it failed, for people (700 bytes); what is longer is cut.
 * @return As lockstep_first_end(). */
LOCKSTEP_API lockstep_status_t lockstep_first_fail(lockstep_group_t group, const char *type,
                                                   const char *text);

typedef enum lockstep_outcome_kind {
  LOCKSTEP_OUTCOME_OK = 0,
  LOCKSTEP_OUTCOME_FAILED = 1, /**< the first said so */
  LOCKSTEP_OUTCOME_DEAD = 2    /**< the first is gone and nobody knows how its section ended */
} lockstep_outcome_kind_t;

#define LOCKSTEP_HOST_MAX 64

/** How a section ended. */
typedef struct lockstep_outcome {
  size_t size;       /**< set by the caller: sizeof(lockstep_outcome_t) */
  int32_t kind;      /**< lockstep_outcome_kind_t */
  uint32_t rank;     /**< who went first (the last one that tried), as a job rank */
  uint32_t attempts; /**< ranks that have tried */
  uint32_t reserved;
  char host[LOCKSTEP_HOST_MAX]; /**< of that rank */
  char site[192];               /**< its call, e.g. "train.cpp:12 process_first 'data'" */
  char type[72];                /**< of a failure */
  char text[704];               /**< of a failure, or how a rank died where that is known */
} lockstep_outcome_t;

/** How the group's last section ended, as far as this process has seen: its own if it went first,
 * else that of the last lockstep_first_begin() that waited for one. Local.
 * @return LOCKSTEP_OK; LOCKSTEP_E_STATE: there was none; LOCKSTEP_E_INVALID. */
LOCKSTEP_API lockstep_status_t lockstep_last_outcome(lockstep_group_t group,
                                                     lockstep_outcome_t *outcome_p);

/* ---- act together on a trigger --------------------------------------------------------------- */

/** Raises the trigger on this process. Local, cheap, may be repeated; any thread, not from a signal
 * handler. Told to the others by the next lockstep_check_trigger(). */
LOCKSTEP_API lockstep_status_t lockstep_set_trigger(lockstep_session_t session);

/** Has any rank raised the trigger? Collective over the job; costs one round.
 *
 * @param fired_p  1 on every rank, in the same matching call, if any rank raised it before its own
 *                 call; the trigger is then down again everywhere. Otherwise 0 on every rank.
 * @return as lockstep_wait_for_everyone. */
LOCKSTEP_API lockstep_status_t lockstep_check_trigger(lockstep_session_t session,
                                                      const lockstep_call_t *call, int *fired_p);

/** The same, free while nothing is set: a store and a load, no round, no system call, nothing on
 * any wire. Every rank calls it equally often in its loop, at its own pace. Once a rank has raised
 * the trigger, all agree on one poll number that none of them has reached, and meet there.
 *
 * Where nodes exchange whole rounds only (LOCKSTEP_TRANSPORT=pmix_fence) it costs what
 * lockstep_check_trigger() costs.
 *
 * @param call     Read only where there is something to wait for.
 * @param fired_p  1 on every rank in the call of the same number, some calls after the trigger was
 *                 raised; it is then down again. Otherwise 0.
 * @return as lockstep_wait_for_everyone. */
LOCKSTEP_API lockstep_status_t lockstep_poll_trigger(lockstep_session_t session,
                                                     const lockstep_call_t *call, int *fired_p);

/** Why the trigger fired. */
typedef enum lockstep_reason {
  LOCKSTEP_REASON_SET = 1,        /**< lockstep_set_trigger() */
  LOCKSTEP_REASON_SIGNAL = 2,     /**< a signal; see lockstep_trigger_on_signal() */
  LOCKSTEP_REASON_TIME_LIMIT = 3, /**< the job's end is near or reached */
  LOCKSTEP_REASON_PREEMPTION = 4, /**< SIGTERM, and the scheduler needs the nodes for another job,
                                       or has queued this one again for another reason */
  LOCKSTEP_REASON_CANCEL = 5,     /**< SIGTERM, and somebody has cancelled the job */
  LOCKSTEP_REASON_REQUEST = 6,    /**< somebody outside the job asked; `text` says who and why */
  LOCKSTEP_REASON_SUSPEND = 7,    /**< SIGTSTP: the job is about to be stopped for a while */
  LOCKSTEP_REASON_RESUME = 8,     /**< SIGCONT: it goes on after that */
  LOCKSTEP_REASON_LOSS = 9,       /**< a rank is lost; see lockstep_trigger_bind_loss() */
  LOCKSTEP_REASON_FILE = 10,      /**< somebody touched a file; see lockstep_trigger_bind_file() */
  LOCKSTEP_REASON_WORD = 11       /**< a kernel, say; see lockstep_trigger_bind_word() */
} lockstep_reason_t;

#define LOCKSTEP_REASON_TEXT_MAX 256
#define LOCKSTEP_TRIGGER_NAME_MAX 64
#define LOCKSTEP_SITE_MAX 128

/** The most urgent of what made the trigger fire: a signal before a request, a request before a
 * file, a file before the time, the time before a word, a word before a call; then the lower rank
 * before the higher, or, if the trigger has a name, the earlier before the later. The same on all
 * ranks. */
typedef struct lockstep_trigger_report {
  size_t size;    /**< set by the caller: sizeof(lockstep_trigger_report_t) */
  int32_t reason; /**< lockstep_reason_t */
  uint32_t rank;  /**< where it came from */
  int32_t signal; /**< its number; 0 if it was none */
  int32_t reserved;
  int64_t left_ns; /**< to the job's end when it was noticed; INT64_MAX: not known */
  uint64_t check;  /**< number of the check of this trigger that fired, from 1 */
  char host[LOCKSTEP_HOST_MAX];
  char text[LOCKSTEP_REASON_TEXT_MAX]; /**< one line for people */
  char name[LOCKSTEP_TRIGGER_NAME_MAX]; /**< of the trigger; empty: it has none */
  char site[LOCKSTEP_SITE_MAX];         /**< where it was set: "train.cpp:12"; may be empty */
  uint64_t value;    /**< of all who have set it, combined; 0 if nobody gave one */
  uint64_t step;     /**< what the rank above gave as its step */
  uint32_t setters;  /**< ranks that had set it */
  uint32_t reserved2;
  int64_t time_ns;   /**< when it was set there, in nanoseconds since 1970 by that host's clock */
  int64_t since_ns;  /**< when the earliest of the setters did, likewise */
} lockstep_trigger_report_t;

/** Why the last lockstep_check_trigger() that fired did so. Local.
 * @return LOCKSTEP_OK; LOCKSTEP_E_STATE: none has fired yet; LOCKSTEP_E_INVALID. */
LOCKSTEP_API lockstep_status_t lockstep_last_trigger(lockstep_session_t session,
                                                     lockstep_trigger_report_t *report_p);

/** From now on the signal raises the trigger instead of ending this process. Local; the same as
 * LOCKSTEP_SIGNALS. The handler only writes a flag; one that was there before is called too; forked
 * children are left alone. lockstep_session_leave() puts back what was there.
 *
 * @param signal  SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGINT, SIGQUIT, SIGCONT, SIGURG, SIGXCPU,
 *                SIGALRM, SIGTSTP or SIGPWR.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: another signal. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_on_signal(lockstep_session_t session, int signal);

/** Raises the trigger once less than `margin_ns` is left before the job's time limit, or less than
 * one and a half times the longest lockstep_save() so far. The main process watches for all, asks
 * the scheduler once a minute, and so sees a limit that was changed. Local; to be called on every
 * rank, or on the main process only. The same as LOCKSTEP_STOP_BEFORE_END.
 * @return LOCKSTEP_OK, also where no limit is known; LOCKSTEP_E_INVALID: negative. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_before_end(lockstep_session_t session,
                                                           int64_t margin_ns);

/** Time left before the job's time limit, as far as this process knows. Local, never blocks. The
 * main process asks the scheduler once a minute after its first call; the others know what the
 * scheduler said at launch (Slurm 23.02 and newer).
 * @param left_ns_p  May be negative; INT64_MAX: there is no limit, or nobody has said. */
LOCKSTEP_API lockstep_status_t lockstep_time_left(lockstep_session_t session, int64_t *left_ns_p);

/** What a rank wants to become of the job. */
typedef enum lockstep_requeue {
  LOCKSTEP_REQUEUE_NO_OPINION = 0,
  LOCKSTEP_REQUEUE_WANTED = 1, /**< run it again: there is more to do */
  LOCKSTEP_REQUEUE_NEVER = 2   /**< do not, whatever the others want: it is done, or hopeless */
} lockstep_requeue_t;

/** Decides together whether the scheduler is to run this job again. Collective over the job; the
 * last decision counts. If any rank says NEVER the job is not run again, and Slurm is told not to
 * restart it by itself either, as it does after a preemption or a node's failure. Otherwise one
 * WANTED is enough.
 *
 * It is carried out by lockstep_session_leave(), which waits for all ranks first: Slurm then ends
 * what still runs of the job, and starts it again after two minutes or later. Needs a batch job
 * (sbatch) that is not submitted with --no-requeue. Without this call a preempted job that saves
 * and exits with 0 in time is a completed one to Slurm, and never goes on.
 *
 * @param why     One line for LOCKSTEP_RECORD; NULL is allowed, the first 255 bytes count.
 * @param will_p  May be NULL. 1 on every rank: the scheduler will be asked. 0: it will not, since
 *                somebody said NEVER, nobody WANTED, or the job was not started by Slurm.
 * @return as lockstep_wait_for_everyone; LOCKSTEP_E_INVALID. */
LOCKSTEP_API lockstep_status_t lockstep_requeue(lockstep_session_t session, lockstep_requeue_t wish,
                                                const char *why, const lockstep_call_t *call,
                                                int *will_p);

/* ---- data ------------------------------------------------------------------------------------ */

/** Longest byte string that broadcast and gather accept. */
#define LOCKSTEP_BYTES_MAX ((size_t)16 << 20)

/** Tells every member the root's bytes. Collective. Meant for small things (a path, a seed, an
 * outcome): about 1 KiB travels per round.
 *
 * @param bytes, length  Read on the root only; at most LOCKSTEP_BYTES_MAX.
 * @param bytes_p, length_p  On every member: the root's bytes; give them back with lockstep_free().
 *                 A NUL follows them, so that text can be used as it is.
 * @return LOCKSTEP_OK; LOCKSTEP_E_LIMIT (too long, then on every member); LOCKSTEP_E_INVALID (not a
 *         member; or members name different roots, then on every member); LOCKSTEP_E_RESOURCE; the
 *         errors of a round. */
LOCKSTEP_API lockstep_status_t lockstep_broadcast(lockstep_group_t group, uint32_t root,
                                                  const void *bytes, size_t length,
                                                  const lockstep_call_t *call, void **bytes_p,
                                                  size_t *length_p);

/** Gives back what a call returned through bytes_p or text_p. NULL is allowed. */
LOCKSTEP_API void lockstep_free(void *memory);

/** This rank's share of `total` items: contiguous, the first total % parts ranks get one more.
 * Local and pure.
 *
 * @param begin_p, end_p  Half-open range of item indices; empty where there are fewer items. */
LOCKSTEP_API lockstep_status_t lockstep_split_range(uint64_t total, uint32_t part, uint32_t parts,
                                                    uint64_t *begin_p, uint64_t *end_p);

/* ---- output ---------------------------------------------------------------------------------- */

/** What ranks share. Printing knows the first two; lockstep/scopes.h has them all. */
typedef enum lockstep_scope {
  LOCKSTEP_PER_JOB = 0,
  LOCKSTEP_PER_NODE = 1,
  LOCKSTEP_PER_NUMA = 2,       /**< an L3 cache or NUMA domain, as `lockstep topo` shows them */
  LOCKSTEP_PER_SWITCH = 3,     /**< the lowest switch above the node */
  LOCKSTEP_PER_GPU_GROUP = 4,  /**< GPUs that reach each other's memory directly */
  LOCKSTEP_PER_FILE_SYSTEM = 5 /**< the files at a path */
} lockstep_scope_t;

/** Prints `text` and a newline to stdout in one write, on the scope's main processes. Local. */
LOCKSTEP_API lockstep_status_t lockstep_print(lockstep_session_t session, lockstep_scope_t scope,
                                              const char *text);

/** Prints every member's text in rank order, on the group's rank 0. Collective. Members with
 * nothing to say pass NULL or "". */
LOCKSTEP_API lockstep_status_t lockstep_print_in_order(lockstep_group_t group, const char *text,
                                                       const lockstep_call_t *call);

/* ---- saving ---------------------------------------------------------------------------------- */

/** Writes the file's contents: called once with a descriptor that is open for writing and stays
 * lockstep's; returns 0, or non-zero to give up (the old file then stays). */
typedef int (*lockstep_writer_t)(int descriptor, void *context);

/** Saves a file on the main process; the others return at once. Not collective. With others, and
 * checkpoints of many parts: lockstep/saving.h.
 *
 * `writer` fills a temporary file in the same directory, which is synced, renamed to `path`, and
 * made durable by syncing the directory. `path` holds the old or the new contents in full at every
 * moment, even after SIGKILL or power loss, also when several jobs save to it. Where the file
 * system has unnamed files (O_TMPFILE) a process that is killed while it writes leaves nothing
 * behind; elsewhere, or between naming and renaming, a file named ".<name>.lockstep-<n>.tmp", which
 * the next save to `path` removes.
 *
 * @return LOCKSTEP_OK; LOCKSTEP_E_IO: nothing changed at `path`, the text has the reason; when the
 *         writer gave up, that is what it left in errno. */
LOCKSTEP_API lockstep_status_t lockstep_save(lockstep_session_t session, const char *path,
                                             lockstep_writer_t writer, void *context);

/* ---- looking inside -------------------------------------------------------------------------- */

/** What this build and machine have: versions, plugins and why not, every setting. JSON text, no
 * session needed. @param text_p  Give it back with lockstep_free(). */
LOCKSTEP_API lockstep_status_t lockstep_info_json(char **text_p);

/** The session's tiers with the ranks in them. JSON text. Collective over the job. */
LOCKSTEP_API lockstep_status_t lockstep_topology_json(lockstep_session_t session, char **text_p);

/* ---- from outside ---------------------------------------------------------------------------- */

/** The sessions that have processes on this machine, and where each of their ranks is. No session
 * needed; the jobs are neither stopped nor slowed down. Sees what runs as the caller's user, or
 * everything as root.
 *
 * JSON text with a list "parts", one for each node of a session, also for emulated ones: which job,
 * and for each of its ranks there the call it is in, since when, or the last one. Fields may be
 * added. An empty list is no error.
 *
 * @param text_p  Give it back with lockstep_free().
 * @return LOCKSTEP_OK; LOCKSTEP_E_IO: /proc cannot be read; LOCKSTEP_E_RESOURCE. */
LOCKSTEP_API lockstep_status_t lockstep_sessions_json(char **text_p);

/** A request to fire a job's trigger. */
typedef struct lockstep_request {
  size_t size;         /**< set by the caller: sizeof(lockstep_request_t) */
  const char *session; /**< "id" or "job" of lockstep_sessions_json() */
  const char *name;    /**< of an open trigger of the job, which it sets; or else only a
                            lockstep_check_trigger() of this name takes it; NULL: any of those */
  const char *from;    /**< who asks, for the report; NULL: the user's name and the host's */
  const char *reason;  /**< for the report; may be NULL */
  int64_t timeout_ns;  /**< how long to wait for the job to notice it; 0: do not wait */
} lockstep_request_t;

/** Asks a running job to fire its trigger, as if its rank 0 had set it. No session needed. Rank 0
 * must be on this machine and run as the caller's user, unless the caller is root; it notices the
 * request at its next check. The report has reason LOCKSTEP_REASON_REQUEST.
 *
 * @param check_p  Number of the check that fired.
 * @return LOCKSTEP_OK: all ranks know; LOCKSTEP_AGAIN: not noticed in time, it stands for the next
 *         check, and lockstep_last_error() says where rank 0 is; LOCKSTEP_E_PEER: there is no such
 *         session here, rank 0 is on another machine, or it has ended meanwhile; LOCKSTEP_E_LIMIT:
 *         too many requests wait, or the name is too long; LOCKSTEP_E_INVALID: several sessions
 *         have that name, or an argument is bad; LOCKSTEP_E_IO: the page cannot be written;
 *         LOCKSTEP_E_RESOURCE. */
LOCKSTEP_API lockstep_status_t lockstep_request_trigger(const lockstep_request_t *request,
                                                        uint64_t *check_p);

#ifdef __cplusplus
}
#endif

#include "lockstep/bytes.h"  /* byte strings that one rank makes, or every one, for all */
#include "lockstep/saving.h" /* files and checkpoints that all ranks save together */
#include "lockstep/triggers.h" /* triggers with names, and rules for when they fire */
#include "lockstep/scopes.h" /* groups of those who share something; at most k at a time */
#endif
