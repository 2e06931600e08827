/* Finds what ends a step when one rank or node fails: the command line, variables, slurm.conf. */
#define _GNU_SOURCE
#include "advice.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <slurm/slurm.h>
#include <slurm/spank.h>

/* What the command line says, as far as it can be seen: a plugin is not shown srun's own options.
 * -1: nothing. */
struct command_line {
  int kill_on_bad_exit;
  int no_kill;
  int wait;
};

/* What follows `name` in a word that begins so, or NULL. */
static const char* after(const char* word, const char* name) {
  const size_t length = strlen(name);
  return strncmp(word, name, length) == 0 ? word + length : NULL;
}

static int is_not_zero(const char* number) {
  return strtol(number, NULL, 10) != 0;
}

static void look_at(const char* word, const char* next, struct command_line* seen) {
  const char* value = NULL;
  if ((value = after(word, "--kill-on-bad-exit")) != NULL) {
    seen->kill_on_bad_exit = strcmp(value, "=0") != 0;
  } else if ((value = after(word, "-K")) != NULL) {
    seen->kill_on_bad_exit = strcmp(value, "0") != 0;
  } else if (strcmp(word, "-k") == 0 || strcmp(word, "--no-kill") == 0) {
    seen->no_kill = 1;
  } else if ((value = after(word, "--no-kill=")) != NULL) {
    seen->no_kill = strcasecmp(value, "set") == 0;
  } else if (strcmp(word, "-W") == 0 || strcmp(word, "--wait") == 0) {
    seen->wait = is_not_zero(next);
  } else if ((value = after(word, "--wait=")) != NULL || (value = after(word, "-W")) != NULL) {
    seen->wait = is_not_zero(value);
  }
}

/* All words are looked at, those of the user's program too: where the one ends and the other begins
 * only srun can tell. At worst an advice is missing, or is given without need. */
static struct command_line read_command_line(void) {
  struct command_line seen = {-1, -1, -1};
  char text[16384];
  const int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (file < 0) return seen;
  const ssize_t length = read(file, text, sizeof text - 2);
  (void)close(file);
  if (length <= 0) return seen;
  text[length] = text[length + 1] = '\0'; /* so that after the last word there is an empty one */
  for (const char* word = text; word < text + length; word += strlen(word) + 1) {
    look_at(word, word + strlen(word) + 1, &seen);
  }
  return seen;
}

static const char from_command_line[] = "the command line";

/* What says that one rank's bad exit ends the step; NULL: nothing. */
static const char* who_kills(const struct command_line* seen, const slurm_conf_t* conf) {
  if (seen->kill_on_bad_exit >= 0) return seen->kill_on_bad_exit ? from_command_line : NULL;
  const char* variable = getenv("SLURM_KILL_BAD_EXIT");
  if (variable != NULL) return is_not_zero(variable) ? "SLURM_KILL_BAD_EXIT" : NULL;
  return conf != NULL && conf->kill_on_bad_exit != 0 ? "KillOnBadExit in slurm.conf" : NULL;
}

/* What says that the step ends some time after its first rank; NULL: nothing. */
static const char* who_waits(const struct command_line* seen, const slurm_conf_t* conf) {
  if (seen->wait >= 0) return seen->wait ? from_command_line : NULL;
  const char* variable = getenv("SLURM_WAIT");
  if (variable != NULL) return is_not_zero(variable) ? "SLURM_WAIT" : NULL;
  return conf != NULL && conf->wait_time != 0 ? "WaitTime in slurm.conf" : NULL;
}

static bool is_kept_without_node(const struct command_line* seen) {
  if (seen->no_kill >= 0) return seen->no_kill == 1;
  const char* variable = getenv("SLURM_NO_KILL");
  return variable != NULL && strcasecmp(variable, "set") == 0;
}

void lockstep_say_what_ends_the_step(void) {
  const struct command_line seen = read_command_line();
  slurm_conf_t* conf = NULL;
  if (slurm_load_ctl_conf(0, &conf) != SLURM_SUCCESS) conf = NULL;
  const char* who = who_kills(&seen, conf);
  if (who != NULL) {
    slurm_spank_log(
        "lockstep: fault tolerance: by %s the step is ended when one rank fails; "
        "type: srun --kill-on-bad-exit=0",
        who);
  }
  who = who_waits(&seen, conf);
  if (who != NULL) {
    slurm_spank_log(
        "lockstep: fault tolerance: by %s the step is ended soon after its first rank "
        "ends; type: srun --wait=0",
        who);
  }
  if (!is_kept_without_node(&seen)) {
    slurm_spank_log(
        "lockstep: fault tolerance: the step is ended when a node fails; type: srun "
        "--no-kill, and in an allocation also sbatch or salloc --no-kill");
  }
  if (conf != NULL) slurm_free_ctl_conf(conf);
}
