/* slurmstepd: gives the tasks what the options say, the key of the step, and the exit page. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "contexts.h"
#include "exit_page.h"
#include "key.h"
#include "options.h"
#include "page.h"

/* Open as long as this process lives, which is as long as the step: tasks inherit them. */
static int key_file = -1;
static int page_file = -1;

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
  /* A step that was started in a task of another one has inherited that one's numbers. */
  (void)spank_unsetenv(spank, LOCKSTEP_KEY_VARIABLE);
  (void)spank_unsetenv(spank, LOCKSTEP_EXIT_PAGE_VARIABLE);
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

/* The effective user is the job's by now: not even the memory is made as root. */
void lockstep_stepd_before_tasks(spank_t spank) {
  if (page_file >= 0 || key_file >= 0) return;
  const bool of_srun = has_tasks_of_srun(spank);
  key_file = lockstep_key_take(spank, of_srun && lockstep_feature_wanted(LOCKSTEP_FEATURE_KEY));
  if (of_srun && lockstep_feature_wanted(LOCKSTEP_FEATURE_EXIT_PAGE)) {
    page_file = lockstep_page_make(spank);
  }
}

static void hand_over(spank_t spank, const char* variable, int file) {
  if (file < 0) return;
  char number[16];
  (void)snprintf(number, sizeof number, "%d", file);
  if (fcntl(file, F_SETFD, 0) != 0) {
    slurm_error("lockstep: cannot keep %s open for the task: %s", variable, strerror(errno));
    return;
  }
  (void)spank_setenv(spank, variable, number, 1);
}

void lockstep_stepd_task_starts(spank_t spank) {
  hand_over(spank, LOCKSTEP_KEY_VARIABLE, key_file);
  hand_over(spank, LOCKSTEP_EXIT_PAGE_VARIABLE, page_file);
  lockstep_page_task_starts(spank);
}

void lockstep_stepd_task_has_ended(spank_t spank) {
  lockstep_page_task_has_ended(spank);
}
