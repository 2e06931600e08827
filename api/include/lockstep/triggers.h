/* lockstep's C interface, its fourth part: triggers that have names, and rules for when they fire.
 * Part of lockstep/lockstep.h, whose conventions hold here. */
#ifndef LOCKSTEP_TRIGGERS_H
#define LOCKSTEP_TRIGGERS_H

#include "lockstep/lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A trigger of a group. Borrowed from the group: it ends with it, or with the session. */
typedef struct lockstep_trigger *lockstep_trigger_t;

/** Who has to have set a trigger before it fires. */
typedef enum lockstep_trigger_policy {
  LOCKSTEP_TRIGGER_ANY = 0,         /**< any member */
  LOCKSTEP_TRIGGER_ALL = 1,         /**< every member */
  LOCKSTEP_TRIGGER_QUORUM = 2,      /**< `quorum` members, or `fraction` of them */
  LOCKSTEP_TRIGGER_NODE_LEADERS = 3 /**< the group's first rank of every node */
} lockstep_trigger_policy_t;

/** What the values that a trigger is set with become. */
typedef enum lockstep_trigger_combine {
  LOCKSTEP_COMBINE_OR = 0,
  LOCKSTEP_COMBINE_MAX = 1, /**< of unsigned numbers, as the next two */
  LOCKSTEP_COMBINE_MIN = 2,
  LOCKSTEP_COMBINE_SUM = 3,  /**< modulo 2^64 */
  LOCKSTEP_COMBINE_FIRST = 4 /**< that of the set which the report is about */
} lockstep_trigger_combine_t;

/** How a trigger is to be. Members must agree on it. */
typedef struct lockstep_trigger_options {
  size_t size;     /**< set by the caller: sizeof(lockstep_trigger_options_t) */
  int32_t policy;  /**< lockstep_trigger_policy_t */
  int32_t combine; /**< lockstep_trigger_combine_t */
  uint32_t quorum; /**< of LOCKSTEP_TRIGGER_QUORUM: members; 0: see `fraction` */
  uint32_t reserved;
  double fraction; /**< of LOCKSTEP_TRIGGER_QUORUM, if `quorum` is 0: above 0 to 1, rounded up */
} lockstep_trigger_options_t;

/** Opens the group's trigger of that name. Local. Asked again, with the same options, the same one
 * comes back. Groups do not share triggers: two of the same name in two groups are two.
 *
 * Thread: the one that uses the group.
 *
 * @param name     1 to 63 bytes of UTF-8 that can be printed; members must agree on it.
 * @param options  NULL: any member, values ORed. A member that has opened it with other options is
 *                 found when it is checked, or told, as LOCKSTEP_E_MISMATCH on all members.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: the name or an option is bad, or it is open here with
 *         other options; LOCKSTEP_E_LIMIT: 64 are open in this group. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_open(lockstep_group_t group, const char *name,
                                                     const lockstep_trigger_options_t *options,
                                                     lockstep_trigger_t *trigger_p);

/** Makes room for another one; once for each lockstep_trigger_open(). Local; thread as there. What
 * was set and not told yet is told all the same. NULL is allowed. */
LOCKSTEP_API void lockstep_trigger_close(lockstep_trigger_t trigger);

/** Why a trigger is set. */
typedef struct lockstep_trigger_cause {
  size_t size;        /**< set by the caller: sizeof(lockstep_trigger_cause_t) */
  const char *reason; /**< one line for people; may be NULL; the first 255 bytes count */
  uint64_t value;     /**< combined with those of others as the trigger's options say */
  uint64_t step;      /**< where the program is, in its own count */
  const char *file;   /**< may be NULL */
  uint32_t line;
  uint32_t reserved;
} lockstep_trigger_cause_t;

/** Sets the trigger on this member. Local and quick; any thread, not from a signal handler. The
 * others are told by the next check of any trigger of the group that begins after it.
 *
 * A member counts once, however often it sets; its values are combined, and its most urgent, then
 * earliest cause is kept. What is set after this member was told that the trigger fires counts for
 * the next time.
 *
 * @param cause  NULL: no reason, value 0.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID; LOCKSTEP_E_RESOURCE. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_set(lockstep_trigger_t trigger,
                                                    const lockstep_trigger_cause_t *cause);

/** Which of these triggers fire? Collective over their group; one round, whatever their number,
 * while nobody has set anything in this group, and some more when somebody has.
 *
 * A trigger fires when the members that have set it since it last fired, before their own call,
 * are those that its policy asks for; it is then down again everywhere. If it becomes due in a
 * check of other triggers, it fires in its next own.
 *
 * @param triggers  `count` of one group, at least one; the same ones in the same order on all
 *                  members. Their names stand for call->name, which is not read.
 * @param fired_p   Room for `count` numbers: 1 on every member, in the same call, or 0.
 * @return as lockstep_wait_for_everyone(); LOCKSTEP_E_MISMATCH also if members have opened a
 *         trigger with different options; LOCKSTEP_E_INVALID: no triggers, or of several groups. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_check(const lockstep_trigger_t *triggers,
                                                      size_t count, const lockstep_call_t *call,
                                                      int *fired_p);

/** Does the trigger fire? Free while nothing is set in its group: a store and two loads, no round,
 * no system call, nothing on any wire. Every member polls equally often in its loop, at its own
 * pace, and the same triggers in the same order. Once a member has set one, all agree on the number
 * of a poll that none of them has reached, and meet there: every set is told then, and each trigger
 * that has become due fires in that poll or in its own next one.
 *
 * Where nodes exchange whole rounds only (LOCKSTEP_TRANSPORT=pmix_fence) it costs what
 * lockstep_trigger_check() costs.
 *
 * @param call     Read only where there is something to look at; the trigger's name stands for
 *                 call->name.
 * @param fired_p  1 on every member, in the poll of the same number, or 0.
 * @return as lockstep_trigger_check(). */
LOCKSTEP_API lockstep_status_t lockstep_trigger_poll(lockstep_trigger_t trigger,
                                                     const lockstep_call_t *call, int *fired_p);

/** Why the trigger last fired. Local, any thread.
 * @return LOCKSTEP_OK; LOCKSTEP_E_STATE: it has not fired yet; LOCKSTEP_E_INVALID. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_last(lockstep_trigger_t trigger,
                                                     lockstep_trigger_report_t *report_p);

/** If the group breaks because a member is lost, the next check or poll of this trigger fires,
 * once, instead of failing: on all members that are left, in the same call. The report has reason
 * LOCKSTEP_REASON_LOSS, the lost rank, and what is known of its end. Other collective calls of the
 * group fail as before. While all only poll, a death is noticed within some seconds. Local; to be
 * called on every member.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_bind_loss(lockstep_trigger_t trigger);

/** As lockstep_trigger_on_signal(), but the signal sets this trigger, which must be one of
 * lockstep_session_job(). Once the trigger is closed, the signal is for the one without a name.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: another signal, or another group's trigger. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_bind_signal(lockstep_trigger_t trigger, int signal);

/** From now on who touches that file sets this trigger, which must be one of
 * lockstep_session_job(), as if rank 0 had: when the file appears, is written to, or another is put
 * in its place. The report has reason LOCKSTEP_REASON_FILE. A file that is there already does not
 * count until it is touched, and one that goes never does. lockstep only looks at it: it stays
 * where it is, and may be touched again.
 *
 * Rank 0 alone looks, once a second: at its checks, and, once it polls, on a thread of its own.
 * What the others name does not matter, but all may call this alike. A file that is not there, or
 * whose folder is not, is no error: it may come. On a network file system rank 0 sees what its node
 * sees, which may be up to a minute behind.
 *
 * A trigger has one file: another takes its place. Local; the thread that uses the group.
 *
 * @param path  A relative one is looked for from where the program is now.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: empty or longer than a path can be, or another group's
 *         trigger; LOCKSTEP_E_IO: relative, and the working folder is gone; LOCKSTEP_E_RESOURCE. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_bind_file(lockstep_trigger_t trigger,
                                                          const char *path);

/** As lockstep_trigger_before_end(), but it sets this trigger, which must be one of
 * lockstep_session_job(), and no other: the last to ask is the one that is told. Once the trigger
 * is closed, the time is for the one without a name.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: a negative margin, or another group's trigger. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_bind_end(lockstep_trigger_t trigger,
                                                         int64_t margin_ns);

/** From now on this trigger, which must be one of lockstep_session_job(), hears of all that the one
 * without a name would hear of: the signals, the time limit and the file of the settings, requests
 * that name nobody, and whatever no other trigger is bound to. The last to ask is the one that is
 * told. Local; once the trigger is closed, all is for the one without a name again.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: another group's trigger. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_bind_rest(lockstep_trigger_t trigger);

/** From now on who writes a value other than 0 to `word` sets this trigger, with that value, as if
 * this rank had: a kernel on a GPU, to memory that it shares with the host (lockstep/device.cuh has
 * all of that for CUDA), by one store and without anybody's waiting for it; or another thread. The
 * report has reason LOCKSTEP_REASON_WORD. This rank looks in its checks and polls, which costs a
 * load in each, and writes 0 there when it has seen a value: several writes before that are one,
 * with the last value. What comes when all checks and polls are over is said in a line.
 *
 * A trigger of any group; it has one word on each rank: another takes its place. Local; the thread
 * that uses the group, while no other polls.
 *
 * @param word  Readable and writable until the trigger is closed, or another word is bound. NULL:
 *              none any more.
 * @return LOCKSTEP_OK; LOCKSTEP_E_INVALID: not aligned to 8 bytes; LOCKSTEP_E_RESOURCE. */
LOCKSTEP_API lockstep_status_t lockstep_trigger_bind_word(lockstep_trigger_t trigger,
                                                          uint64_t *word);

#ifdef __cplusplus
}
#endif
#endif
