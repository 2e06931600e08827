/* How a node's tasks learn from Slurm which of them have ended, and how: one line of memory for
 * each.
 *
 * slurmstepd is the parent of all tasks that a step has on a node, so it knows how each has ended.
 * It writes that into a page without a name, which the tasks inherit: LOCKSTEP_EXIT_PAGE_FD is the
 * number of its descriptor. The page is as many lines long as there are tasks, in order of
 * SLURM_LOCALID. It can be mapped for reading only, and never changes its size:
 *
 *   fcntl(fd, F_GET_SEALS) has all of F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_SEAL
 *   fstat(fd) says sizeof(struct lockstep_exit_line) * tasks
 *   mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)
 *
 * Whoever uses it checks the seals, the size and each line's version, since a number in the
 * environment may be a stale one. This is C11 and C++; nothing of Slurm is needed. */
#ifndef LOCKSTEP_SPANK_EXIT_PAGE_H
#define LOCKSTEP_SPANK_EXIT_PAGE_H

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>
#else
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define LOCKSTEP_EXIT_PAGE_VARIABLE "LOCKSTEP_EXIT_PAGE_FD"

/* "LSX" and the number of this layout: nothing else begins like this. */
#define LOCKSTEP_EXIT_PAGE_VERSION 0x4c535801U

#define LOCKSTEP_EXIT_RANK_UNKNOWN 0xffffffffU

/* States of a task, in the order in which it goes through them. Tasks do not start together: one
 * that runs may see others that have not started. */
#define LOCKSTEP_EXIT_NOT_STARTED 0U
#define LOCKSTEP_EXIT_RUNNING 1U
#define LOCKSTEP_EXIT_EXITED 2U

struct lockstep_exit_line {
  uint32_t version; /* LOCKSTEP_EXIT_PAGE_VERSION, from the beginning */
  uint32_t state;   /* read it by lockstep_exit_state; what follows is valid for that state */
  /* running and exited: SLURM_PROCID of the task. It may be unknown of one that ended before it
   * began, and before that. */
  uint32_t rank;
  int32_t pid;         /* running and exited: as the task itself sees it */
  int32_t wait_status; /* exited: for WIFEXITED and so on, see waitpid(2) */
  uint32_t reserved[11];
};

static_assert(sizeof(struct lockstep_exit_line) == 64, "one cache line for each task");
static_assert(offsetof(struct lockstep_exit_line, version) == 0, "layout");
static_assert(offsetof(struct lockstep_exit_line, state) == 4, "layout");
static_assert(offsetof(struct lockstep_exit_line, rank) == 8, "layout");
static_assert(offsetof(struct lockstep_exit_line, pid) == 12, "layout");
static_assert(offsetof(struct lockstep_exit_line, wait_status) == 16, "layout");

/* The state, and with it all that was written before it. */
static inline uint32_t lockstep_exit_state(const struct lockstep_exit_line* line) {
  return __atomic_load_n(&line->state, __ATOMIC_ACQUIRE);
}

/* Only for Slurm's side: publishes what was written to the line. */
static inline void lockstep_exit_publish(struct lockstep_exit_line* line, uint32_t state) {
  __atomic_store_n(&line->state, state, __ATOMIC_RELEASE);
}

#endif
