/* Makes the page in which the tasks of a node read how others of them ended, and keeps it true. */
#define _GNU_SOURCE
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exit_page.h"

#define TASKS_MAX 65536U /* on one node; Slurm itself counts them in 16 bits */

/* The only mapping that can be written: it is older than the seal. Lines of tasks that start are
 * written by the task's process, before it becomes the program; of those that ended, by slurmstepd.
 * A process that has ended writes no more, so each has one writer at any time. */
static struct lockstep_exit_line* lines;
static uint32_t line_count;

/* With parts, Slurm tells only the tasks themselves their ranks in the whole. */
static bool has_parts(spank_t spank) {
  char size[16];
  return spank_getenv(spank, "SLURM_HET_SIZE", size, sizeof size) != ESPANK_ENV_NOEXIST;
}

static void begin_lines(spank_t spank) {
  const bool unknown = has_parts(spank);
  for (uint32_t i = 0; i < line_count; ++i) {
    uint32_t rank = LOCKSTEP_EXIT_RANK_UNKNOWN;
    if (unknown || spank_get_item(spank, S_JOB_LOCAL_TO_GLOBAL_ID, i, &rank) != ESPANK_SUCCESS) {
      rank = LOCKSTEP_EXIT_RANK_UNKNOWN;
    }
    lines[i].version = LOCKSTEP_EXIT_PAGE_VERSION;
    lines[i].rank = rank;
  }
}

static int fail(int file, const char* what) {
  slurm_error("lockstep: no exit page for this step's tasks: %s: %s", what, strerror(errno));
  if (lines != NULL) (void)munmap(lines, line_count * sizeof *lines);
  lines = NULL;
  (void)close(file);
  return -1;
}

int lockstep_page_make(spank_t spank) {
  if (spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &line_count) != ESPANK_SUCCESS) return -1;
  if (line_count == 0 || line_count > TASKS_MAX) return -1;
  const size_t size = line_count * sizeof *lines;
  const int file = memfd_create("lockstep-exit-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return fail(file, "memfd_create");
  if (ftruncate(file, (off_t)size) != 0) return fail(file, "ftruncate");
  if (fchmod(file, S_IRUSR) != 0) return fail(file, "fchmod");
  void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return fail(file, "mmap");
  lines = memory;
  const int seals = F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  if (fcntl(file, F_ADD_SEALS, seals) != 0) return fail(file, "sealing it (Linux 5.1)");
  begin_lines(spank);
  return file;
}

/* Slurm's own numbering of the tasks of this node, which is SLURM_LOCALID. */
static struct lockstep_exit_line* line_of_task(spank_t spank) {
  int task = -1;
  if (lines == NULL || spank_get_item(spank, S_TASK_ID, &task) != ESPANK_SUCCESS) return NULL;
  return task >= 0 && (uint32_t)task < line_count ? &lines[task] : NULL;
}

void lockstep_page_task_starts(spank_t spank) {
  struct lockstep_exit_line* line = line_of_task(spank);
  if (line == NULL) return;
  char text[16];
  if (spank_getenv(spank, "SLURM_PROCID", text, sizeof text) == ESPANK_SUCCESS) {
    line->rank = (uint32_t)strtoul(text, NULL, 10);
  }
  line->pid = (int32_t)getpid();
  lockstep_exit_publish(line, LOCKSTEP_EXIT_RUNNING);
}

void lockstep_page_task_has_ended(spank_t spank) {
  struct lockstep_exit_line* line = line_of_task(spank);
  int status = 0;
  if (line == NULL || spank_get_item(spank, S_TASK_EXIT_STATUS, &status) != ESPANK_SUCCESS) return;
  pid_t pid = 0;
  if (line->pid == 0 && spank_get_item(spank, S_TASK_PID, &pid) == ESPANK_SUCCESS) {
    line->pid = (int32_t)pid;
  }
  line->wait_status = status;
  lockstep_exit_publish(line, LOCKSTEP_EXIT_EXITED);
}
