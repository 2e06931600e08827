/* srun: makes the step's key; with fault tolerance, says what would end the step all the same. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "contexts.h"
#include "exit_page.h"
#include "key.h"
#include "options.h"

/* What the command line says, as far as it can be seen: a plugin is not shown srun's own options.
 */
struct command_line {
  int kill_on_bad_exit; /* -1: nothing */
  int no_kill;
};

static void look_at(const char* word, struct command_line* seen) {
  static const char long_kill[] = "--kill-on-bad-exit";
  if (strncmp(word, long_kill, sizeof long_kill - 1) == 0) {
    seen->kill_on_bad_exit = strcmp(word + sizeof long_kill - 1, "=0") != 0;
  } else if (strncmp(word, "-K", 2) == 0) {
    seen->kill_on_bad_exit = strcmp(word, "-K0") != 0;
  } else if (strcmp(word, "-k") == 0 || strcmp(word, "--no-kill") == 0) {
    seen->no_kill = 1;
  } else if (strncmp(word, "--no-kill=", 10) == 0) {
    seen->no_kill = strcasecmp(word + 10, "set") == 0;
  }
}

/* All words are looked at, those of the user's program too: where the one ends and the other begins
 * only srun can tell. At worst an advice is not given. */
static struct command_line read_command_line(void) {
  struct command_line seen = {-1, -1};
  char text[16384];
  const int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (file < 0) return seen;
  const ssize_t length = read(file, text, sizeof text - 1);
  (void)close(file);
  if (length <= 0) return seen;
  text[length] = '\0';
  for (const char* word = text; word < text + length; word += strlen(word) + 1) {
    look_at(word, &seen);
  }
  return seen;
}

/* Where -K, SLURM_KILL_BAD_EXIT or slurm.conf say that one rank's bad exit ends the step; NULL:
 * they do not. */
static const char* who_kills_on_bad_exit(const struct command_line* seen) {
  if (seen->kill_on_bad_exit >= 0) return seen->kill_on_bad_exit ? "the command line" : NULL;
  const char* variable = getenv("SLURM_KILL_BAD_EXIT");
  if (variable != NULL) return strcmp(variable, "0") == 0 ? NULL : "SLURM_KILL_BAD_EXIT";
  slurm_conf_t* conf = NULL;
  if (slurm_load_ctl_conf(0, &conf) != SLURM_SUCCESS) return NULL;
  const bool kills = conf->kill_on_bad_exit != 0;
  slurm_free_ctl_conf(conf);
  return kills ? "KillOnBadExit in slurm.conf" : NULL;
}

static bool is_fault_tolerant(void) {
  if (lockstep_option_given(LOCKSTEP_OPTION_FAULT_TOLERANCE) != NULL) return true;
  const char* variable = getenv(lockstep_option_variable(LOCKSTEP_OPTION_FAULT_TOLERANCE));
  if (variable != NULL) return strcmp(variable, "yes") == 0;
  return lockstep_option_default(LOCKSTEP_OPTION_FAULT_TOLERANCE) != NULL;
}

static void say_what_kills(void) {
  const struct command_line seen = read_command_line();
  const char* who = who_kills_on_bad_exit(&seen);
  if (who != NULL) {
    slurm_spank_log(
        "lockstep: --lockstep-fault-tolerance: by %s the whole step is ended when one "
        "rank fails; type: srun --kill-on-bad-exit=0",
        who);
  }
  const char* variable = getenv("SLURM_NO_KILL");
  const bool is_kept =
      seen.no_kill >= 0 ? seen.no_kill == 1 : variable != NULL && strcasecmp(variable, "set") == 0;
  if (!is_kept) {
    slurm_spank_log(
        "lockstep: --lockstep-fault-tolerance: the whole step is ended when a node "
        "fails; type: srun --no-kill, and in an allocation also sbatch or salloc "
        "--no-kill");
  }
}

void lockstep_srun_begins(void) {
  lockstep_options_forget_inherited();
  /* Those of the step that this may be in. */
  (void)unsetenv(LOCKSTEP_KEY_VARIABLE);
  (void)unsetenv(LOCKSTEP_EXIT_PAGE_VARIABLE);
  if (lockstep_feature_wanted(LOCKSTEP_FEATURE_KEY)) lockstep_key_reserve();
}

void lockstep_srun_options_known(spank_t spank) {
  static bool said = false; /* a heterogeneous step comes here once for each part */
  lockstep_key_options_known(spank);
  if (said || !is_fault_tolerant()) return;
  said = true;
  say_what_kills();
}

void lockstep_srun_before_launch(spank_t spank) {
  lockstep_key_make(spank);
}
