/* A task of the plugin's tests: looks at its key and at the exit page, and says what it sees.
 *
 *   spank_task key                  prints the key in hexadecimal, or "no key"
 *   spank_task sealed               prints "sealed": nothing that was tried changed page or key
 *   spank_task page                 prints one line for each task of the node
 *   spank_task watch LOCALID STATE  waits until that task is in this state, then prints its line
 *   spank_task be CODE|SIG9         exits with the code, or ends by the signal
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "slurm/spank/exit_page.h"

static const struct lockstep_exit_line* lines;
static unsigned tasks;

static void die(const char* text) {
  (void)printf("broken: %s (%s)\n", text, strerror(errno));
  exit(1);
}

/* -1: the variable is not there. */
static int descriptor(const char* variable) {
  const char* text = getenv(variable);
  return text == NULL ? -1 : (int)strtol(text, NULL, 10);
}

static void require_seals(int file, int wanted) {
  const int seals = fcntl(file, F_GET_SEALS);
  if (seals < 0 || (seals & wanted) != wanted) die("seals are missing");
}

static void map_page(void) {
  const int file = descriptor(LOCKSTEP_EXIT_PAGE_VARIABLE);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) die("no page");
  require_seals(file, F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  if (status.st_size <= 0 || status.st_size % (off_t)sizeof *lines != 0) die("size of the page");
  tasks = (unsigned)((size_t)status.st_size / sizeof *lines);
  void* memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) die("the page cannot be mapped");
  lines = memory;
  for (unsigned i = 0; i < tasks; ++i) {
    if (lines[i].version != LOCKSTEP_EXIT_PAGE_VERSION) die("version of a line");
  }
}

static void print_line(unsigned i) {
  const uint32_t state = lockstep_exit_state(&lines[i]);
  const int status = lines[i].wait_status;
  char host[64] = "";
  (void)gethostname(host, sizeof host - 1);
  (void)printf("%s line %u of %u: rank %d ", host, i, tasks, (int)lines[i].rank);
  if (state == LOCKSTEP_EXIT_NOT_STARTED) (void)printf("not started\n");
  if (state == LOCKSTEP_EXIT_RUNNING) (void)printf("running pid %d\n", (int)lines[i].pid);
  if (state == LOCKSTEP_EXIT_EXITED && WIFEXITED(status)) {
    (void)printf("exited %d pid %d\n", WEXITSTATUS(status), (int)lines[i].pid);
  }
  if (state == LOCKSTEP_EXIT_EXITED && WIFSIGNALED(status)) {
    (void)printf("killed by %d pid %d\n", WTERMSIG(status), (int)lines[i].pid);
  }
}

/* Its own line is true, and says nothing else than Slurm does. */
static void check_own_line(void) {
  const unsigned own = (unsigned)strtoul(getenv("SLURM_LOCALID"), NULL, 10);
  const unsigned rank = (unsigned)strtoul(getenv("SLURM_PROCID"), NULL, 10);
  if (own >= tasks) die("the page is too short");
  if (lockstep_exit_state(&lines[own]) != LOCKSTEP_EXIT_RUNNING) die("I am not running");
  if (lines[own].rank != rank) die("my rank");
  /* A shell that has started this program is what Slurm started. */
  if (lines[own].pid != (int32_t)getpid() && lines[own].pid != (int32_t)getppid()) {
    die("my process");
  }
}

static void wait_for(unsigned task, uint32_t state) {
  if (task >= tasks) die("no such task");
  const struct timespec pause = {0, 20 * 1000 * 1000};
  for (int i = 0; i < 1500 && lockstep_exit_state(&lines[task]) != state; ++i) {
    (void)nanosleep(&pause, NULL);
  }
}

static void print_key(void) {
  const int file = descriptor("LOCKSTEP_KEY_FD");
  unsigned char key[33];
  if (file < 0) {
    (void)printf("no key\n");
    return;
  }
  require_seals(file, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  if (pread(file, key, sizeof key, 0) != 32) die("the key is not 32 bytes long");
  (void)printf("key ");
  for (int i = 0; i < 32; ++i) (void)printf("%02x", key[i]);
  (void)printf("\n");
}

/* Everything by which a process could change memory that it holds a descriptor of. */
static void require_sealed(const char* variable) {
  const int file = descriptor(variable);
  struct stat before;
  struct stat after;
  if (file < 0 || fstat(file, &before) != 0) die(variable);
  if (pwrite(file, "x", 1, 0) >= 0) die("pwrite");
  if (ftruncate(file, 0) == 0 || ftruncate(file, 1 << 20) == 0) die("ftruncate");
  if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 64) == 0) die("punch");
  if (mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) != MAP_FAILED) die("mmap");
  void* memory = mmap(NULL, 64, PROT_READ, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) die("mmap for reading");
  if (mprotect(memory, 64, PROT_READ | PROT_WRITE) == 0) die("mprotect");
  if (fcntl(file, F_ADD_SEALS, F_SEAL_WRITE) == 0) die("F_ADD_SEALS");
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  const int again = open(path, O_RDWR | O_CLOEXEC);
  if (again >= 0 && pwrite(again, "x", 1, 0) >= 0) die("pwrite to it, opened again");
  if (again >= 0 && mmap(NULL, 64, PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED) {
    die("mmap of it, opened again");
  }
  if (fstat(file, &after) != 0 || after.st_size != before.st_size) die("its size");
  if ((after.st_mode & 07777) != 0400) die("its mode");
  if (after.st_uid != getuid()) die("its owner");
}

static void be(const char* how) {
  if (strncmp(how, "SIG", 3) == 0) {
    (void)raise((int)strtol(how + 3, NULL, 10));
    die("the signal did nothing");
  }
  exit((int)strtol(how, NULL, 10));
}

int main(int count, char* words[]) {
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  const char* what = count > 1 ? words[1] : "";
  if (strcmp(what, "key") == 0) {
    print_key();
    return 0;
  }
  if (strcmp(what, "be") == 0 && count > 2) be(words[2]);
  map_page();
  check_own_line();
  if (strcmp(what, "sealed") == 0) {
    require_sealed(LOCKSTEP_EXIT_PAGE_VARIABLE);
    require_sealed("LOCKSTEP_KEY_FD");
    (void)printf("sealed\n");
  } else if (strcmp(what, "page") == 0) {
    for (unsigned i = 0; i < tasks; ++i) print_line(i);
  } else if (strcmp(what, "watch") == 0 && count > 3) {
    const unsigned task = (unsigned)strtoul(words[2], NULL, 10);
    wait_for(task, (uint32_t)strtoul(words[3], NULL, 10));
    print_line(task);
  } else {
    die("usage");
  }
  return 0;
}
