/* The options of srun, sbatch and salloc, their variables, and the plugin's arguments. */
#ifndef LOCKSTEP_SPANK_OPTIONS_H
#define LOCKSTEP_SPANK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slurm/slurm.h>
#include <slurm/spank.h>

enum lockstep_option {
  LOCKSTEP_OPTION_REPORT,
  LOCKSTEP_OPTION_TIMEOUT,
  LOCKSTEP_OPTION_STOP_BEFORE_END,
  LOCKSTEP_OPTION_FAULT_TOLERANCE,
  LOCKSTEP_OPTION_COUNT
};

/* What the plugin does without being asked, unless plugstack.conf says no. */
enum lockstep_feature { LOCKSTEP_FEATURE_KEY, LOCKSTEP_FEATURE_EXIT_PAGE, LOCKSTEP_FEATURE_COUNT };

/* Registers the options; only from slurm_spank_init. 0, or -1 after saying why. */
int lockstep_options_register(spank_t spank);

/* Reads the arguments that plugstack.conf gives. One that is not understood is said and ignored. */
void lockstep_options_read_arguments(int count, char* arguments[]);

/* Lets the command fail through Slurm, before it starts anything, if a LOCKSTEP_ variable of its
 * environment has a value that cannot be; only from slurm_spank_init. */
void lockstep_options_check_environment(void);

/* The name of the option's variable. */
const char* lockstep_option_variable(enum lockstep_option option);

/* Its value by the command line, by plugstack.conf; NULL: none. */
const char* lockstep_option_given(enum lockstep_option option);
const char* lockstep_option_default(enum lockstep_option option);

bool lockstep_feature_wanted(enum lockstep_feature feature);

/* The variable in which sbatch, salloc and srun leave the option to the commands inside. */
void lockstep_option_inherited_name(enum lockstep_option option, char* name, size_t size);

/* Removes from this process's environment what sbatch, salloc or an outer srun has left of the
 * options, if the LOCKSTEP_ variable, which was set from it, says something else by now. */
void lockstep_options_forget_inherited(void);

/* Is `text` a duration as the library reads it? */
bool lockstep_is_duration(const char* text);

#endif
