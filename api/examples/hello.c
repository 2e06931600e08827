/* The smallest program in C: everybody joins, says who it is, waits for everyone, and leaves.
 *
 *   lockstep run -n 8 --nodes 4 hello_c      or      srun --mpi=pmix hello_c */
#include <stdio.h>

#include "lockstep/lockstep.h"

/* A call says itself what went wrong and what to do about it; a program only has to pass it on. */
static int failed(lockstep_status_t status) {
  if (status == LOCKSTEP_OK) return 0;
  fprintf(stderr, "hello_c: %s: %s\n", lockstep_status_name(status), lockstep_last_error());
  return 1;
}

int main(void) {
  lockstep_session_t session = NULL;
  if (failed(lockstep_session_join(&session))) return 1;

  const uint32_t rank = lockstep_session_rank(session);
  char line[512];
  snprintf(line, sizeof line, "hello from rank %u of %u, process %u of %u on node %u (%s)", rank,
           lockstep_session_size(session), lockstep_session_local_rank(session),
           lockstep_session_local_size(session), lockstep_session_node(session),
           lockstep_session_host(session, rank));

  /* Rank 0 prints the lines of all ranks, in the order of ranks. */
  const lockstep_group_t job = lockstep_session_job(session);
  int is_bad = failed(lockstep_print_in_order(job, line, LOCKSTEP_HERE("greetings")));

  /* No rank goes on before the last one is here. */
  is_bad = is_bad || failed(lockstep_wait_for_everyone(job, LOCKSTEP_HERE("the end")));
  if (!is_bad && lockstep_is_main_process(session)) puts("everybody was here");

  lockstep_session_leave(session);
  return is_bad;
}
