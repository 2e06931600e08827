/* srun: makes the step's key; with fault tolerance, says what would end the step all the same. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "advice.h"
#include "contexts.h"
#include "exit_page.h"
#include "key.h"
#include "options.h"

static bool is_fault_tolerant(void) {
  if (lockstep_option_given(LOCKSTEP_OPTION_FAULT_TOLERANCE) != NULL) return true;
  const char* variable = getenv(lockstep_option_variable(LOCKSTEP_OPTION_FAULT_TOLERANCE));
  if (variable != NULL) return strcmp(variable, "yes") == 0;
  return lockstep_option_default(LOCKSTEP_OPTION_FAULT_TOLERANCE) != NULL;
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
  lockstep_say_what_ends_the_step();
}

void lockstep_srun_before_launch(spank_t spank) {
  lockstep_key_make(spank);
}
