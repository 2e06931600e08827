/* sbatch and salloc: what they are told becomes the environment of the sruns inside. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "contexts.h"
#include "options.h"

/* This is for salloc's shell. A batch script may get nothing of this environment (--export); its
 * slurmstepd sets the variables from the options, which Slurm carries there in any case. */
void lockstep_allocator_options_known(void) {
  for (int i = 0; i < LOCKSTEP_OPTION_COUNT; ++i) {
    const char* value = lockstep_option_given((enum lockstep_option)i);
    if (value == NULL) continue;
    (void)setenv(lockstep_option_variable((enum lockstep_option)i), value, 1);
  }
}
