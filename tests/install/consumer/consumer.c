/* A C11 user of the installed library. */
#include <lockstep/lockstep.h>
#include <stdio.h>

int main(void) {
  lockstep_session_t session = NULL;
  if (lockstep_session_join(&session) != LOCKSTEP_OK) {
    fprintf(stderr, "%s\n", lockstep_last_error());
    return 1;
  }
  if (lockstep_wait_for_everyone(lockstep_session_job(session), LOCKSTEP_HERE("hello")) !=
      LOCKSTEP_OK) {
    fprintf(stderr, "%s\n", lockstep_last_error());
    return 1;
  }
  if (lockstep_is_main_process(session)) {
    printf("%u ranks on %u nodes\n", lockstep_session_size(session),
           lockstep_session_node_count(session));
  }
  return lockstep_session_leave(session) != LOCKSTEP_OK;
}
