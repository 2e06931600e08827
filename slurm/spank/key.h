/* The secret key of a step: made in srun, carried by Slurm, given to the tasks by slurmstepd. */
#ifndef LOCKSTEP_SPANK_KEY_H
#define LOCKSTEP_SPANK_KEY_H

#include <stdbool.h>

#include <slurm/slurm.h>
#include <slurm/spank.h>

#define LOCKSTEP_KEY_VARIABLE "LOCKSTEP_KEY_FD"
#define LOCKSTEP_KEY_BYTES 32

/* Registers the option that carries it; only from slurm_spank_init. 0, or -1 after saying why. */
int lockstep_key_register(spank_t spank);

/* srun, in this order: makes the option one that is carried, with a place for the key; takes what
 * Slurm has made of that out of the environment; makes the key and puts it into its place. */
void lockstep_key_reserve(void);
void lockstep_key_options_known(spank_t spank);
void lockstep_key_make(spank_t spank);

/* slurmstepd: if it is wanted, the key that has come, in memory that nobody can change: a
 * descriptor that is closed on exec; else, or if none came, -1. Wanted or not, its text here is
 * overwritten. */
int lockstep_key_take(spank_t spank, bool is_wanted);

#endif
