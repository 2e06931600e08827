/* The plugin as Slurm sees it: each hook goes on to the file of the process that it runs in. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contexts.h"
#include "key.h"
#include "options.h"

SPANK_PLUGIN(lockstep, 1)

/* In plugstack.conf twice, the plugin works once. The same file is the same object, whose second
 * slurm_spank_init this sees; a copy of the file finds the first one's mark in the environment. */
static bool is_working;
static const char mark_name[] = "LOCKSTEP_SPANK_LOADED";

static bool is_first(void) {
  char mine[24];
  (void)snprintf(mine, sizeof mine, "%ld", (long)getpid());
  const char* mark = getenv(mark_name);
  if (is_working || (mark != NULL && strcmp(mark, mine) == 0)) {
    slurm_verbose("lockstep: is in plugstack.conf more than once; the first one works");
    return false;
  }
  return setenv(mark_name, mine, 1) == 0;
}

static bool is_command(void) {
  return spank_context() == S_CTX_LOCAL || spank_context() == S_CTX_ALLOCATOR;
}

int slurm_spank_init(spank_t spank, int count, char* arguments[]) {
  /* Nothing to do in slurmd, nor in its prolog and epilog. */
  if (!is_command() && spank_context() != S_CTX_REMOTE) return ESPANK_SUCCESS;
  if (!is_first()) return ESPANK_SUCCESS;
  is_working = true;
  if (lockstep_options_register(spank) != 0) return -1;
  if (spank_context() != S_CTX_ALLOCATOR && lockstep_key_register(spank) != 0) return -1;
  lockstep_options_read_arguments(count, arguments);
  if (spank_context() == S_CTX_LOCAL) lockstep_srun_begins();
  if (is_command()) lockstep_options_check_environment();
  return ESPANK_SUCCESS;
}

int slurm_spank_init_post_opt(spank_t spank, int count, char* arguments[]) {
  (void)count;
  (void)arguments;
  if (!is_working) return ESPANK_SUCCESS;
  (void)unsetenv(mark_name); /* all plugins are loaded by now */
  switch (spank_context()) {
    case S_CTX_LOCAL:
      lockstep_srun_options_known(spank);
      break;
    case S_CTX_ALLOCATOR:
      lockstep_allocator_options_known();
      break;
    case S_CTX_REMOTE:
      lockstep_stepd_options_known(spank);
      break;
    default:
      break;
  }
  return ESPANK_SUCCESS;
}

/* srun: the job is there, its tasks are not. */
int slurm_spank_local_user_init(spank_t spank, int count, char* arguments[]) {
  (void)count;
  (void)arguments;
  if (is_working) lockstep_srun_before_launch(spank);
  return ESPANK_SUCCESS;
}

int slurm_spank_user_init(spank_t spank, int count, char* arguments[]) {
  (void)count;
  (void)arguments;
  if (is_working) lockstep_stepd_before_tasks(spank);
  return ESPANK_SUCCESS;
}

int slurm_spank_task_init(spank_t spank, int count, char* arguments[]) {
  (void)count;
  (void)arguments;
  if (is_working) lockstep_stepd_task_starts(spank);
  return ESPANK_SUCCESS;
}

int slurm_spank_task_exit(spank_t spank, int count, char* arguments[]) {
  (void)count;
  (void)arguments;
  if (is_working) lockstep_stepd_task_has_ended(spank);
  return ESPANK_SUCCESS;
}
