/* What each of Slurm's processes does with the plugin; plugin.c calls the one that it is in. */
#ifndef LOCKSTEP_SPANK_CONTEXTS_H
#define LOCKSTEP_SPANK_CONTEXTS_H

#include <slurm/slurm.h>
#include <slurm/spank.h>

/* srun */
void lockstep_srun_begins(void);
void lockstep_srun_options_known(spank_t spank);
void lockstep_srun_before_launch(spank_t spank);

/* sbatch, salloc */
void lockstep_allocator_options_known(void);

/* slurmstepd: of a step's tasks, or of a batch script */
void lockstep_stepd_options_known(spank_t spank);
void lockstep_stepd_before_tasks(spank_t spank);
void lockstep_stepd_task_starts(spank_t spank); /* in the task's process */
void lockstep_stepd_task_has_ended(spank_t spank);

#endif
