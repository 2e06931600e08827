/* slurmstepd's side of the exit page. */
#ifndef LOCKSTEP_SPANK_PAGE_H
#define LOCKSTEP_SPANK_PAGE_H

#include <slurm/slurm.h>
#include <slurm/spank.h>

/* Makes the page of this step on this node: a descriptor that is closed on exec, or -1 after saying
 * why. */
int lockstep_page_make(spank_t spank);

/* In the task's process, just before it becomes the program. */
void lockstep_page_task_starts(spank_t spank);

/* In slurmstepd, when it has waited for the task. */
void lockstep_page_task_has_ended(spank_t spank);

#endif
