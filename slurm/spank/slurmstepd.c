/* slurmstepd: puts into the environment of the tasks what the options and plugstack.conf say. */
#define _GNU_SOURCE
#include "contexts.h"
#include "options.h"

/* A batch script is started without srun; the sruns in it see its environment as theirs. */
static bool has_tasks_of_srun(spank_t spank) {
  uint32_t step = 0;
  if (spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS) return false;
  return step != SLURM_BATCH_SCRIPT && step != SLURM_EXTERN_CONT && step != SLURM_INTERACTIVE_STEP;
}

static void set_variable(spank_t spank, enum lockstep_option option, const char* value,
                         bool replace) {
  const char* name = lockstep_option_variable(option);
  const spank_err_t error = spank_setenv(spank, name, value, replace);
  if (error != ESPANK_SUCCESS && error != ESPANK_ENV_EXISTS) {
    slurm_error("lockstep: cannot set %s: %s", name, spank_strerror(error));
  }
}

/* sbatch has set the variable in its own environment; with --export=NONE all that comes here is
 * what it has left for the sruns. */
static void set_inherited(spank_t spank, enum lockstep_option option) {
  char name[96];
  char value[64];
  lockstep_option_inherited_name(option, name, sizeof name);
  if (spank_getenv(spank, name, value, sizeof value) != ESPANK_SUCCESS) return;
  set_variable(spank, option, option == LOCKSTEP_OPTION_FAULT_TOLERANCE ? "yes" : value, false);
}

void lockstep_stepd_options_known(spank_t spank) {
  const bool of_srun = has_tasks_of_srun(spank);
  for (int i = 0; i < LOCKSTEP_OPTION_COUNT; ++i) {
    const enum lockstep_option option = (enum lockstep_option)i;
    const char* given = lockstep_option_given(option);
    const char* fallback = lockstep_option_default(option);
    if (given != NULL) {
      set_variable(spank, option, given, true);
    } else if (!of_srun) {
      set_inherited(spank, option);
    } else if (fallback != NULL) {
      set_variable(spank, option, fallback, false);
    }
  }
}
