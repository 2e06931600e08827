/* A rank that checks with libpmix what the launcher promises, and that misbehaves on demand. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pmix.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_RANKS = 4096, ROUNDS = 20 };

static pmix_proc_t me;

static void fail(const char* format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "probe rank %u: %s\n", me.rank, text);
  exit(99);
}

static int number_of(const char* text) {
  char* end = NULL;
  const long number = text == NULL ? -1 : strtol(text, &end, 10);
  if (text == NULL || end == text || *end != '\0') fail("not a number: %s", text ? text : "none");
  return (int)number;
}

static void must(const char* what, pmix_status_t status) {
  if (status != PMIX_SUCCESS) fail("%s: %s", what, PMIx_Error_string(status));
}

static pmix_proc_t proc_of(pmix_rank_t rank) {
  pmix_proc_t proc = me;
  proc.rank = rank;
  return proc;
}

/* A key that the server must have registered: never ask another node for it. libpmix 4.2 takes some
   keys of a rank for keys of its node and then looks at its own node only; PMIX_JOB_INFO helps. */
static pmix_value_t* registered(pmix_rank_t rank, const char* key) {
  const bool yes = true;
  pmix_info_t qualifiers[2];
  memset(qualifiers, 0, sizeof qualifiers);
  PMIx_Info_load(&qualifiers[0], PMIX_OPTIONAL, &yes, PMIX_BOOL);
  PMIx_Info_load(&qualifiers[1], PMIX_JOB_INFO, &yes, PMIX_BOOL);
  const pmix_proc_t proc = proc_of(rank);
  pmix_value_t* value = NULL;
  pmix_status_t status = PMIx_Get(&proc, key, qualifiers, 1, &value);
  if (status != PMIX_SUCCESS) status = PMIx_Get(&proc, key, qualifiers, 2, &value);
  if (status != PMIX_SUCCESS)
    fail("key %s of rank %d: %s", key, (int)rank, PMIx_Error_string(status));
  return value;
}

static void expect_number(pmix_rank_t rank, const char* key, uint32_t expected) {
  const pmix_value_t* value = registered(rank, key);
  uint32_t found = 0;
  switch (value->type) {
    case PMIX_UINT16:
      found = value->data.uint16;
      break;
    case PMIX_UINT32:
      found = value->data.uint32;
      break;
    case PMIX_PROC_RANK:
      found = value->data.rank;
      break;
    default:
      fail("key %s has type %d", key, (int)value->type);
  }
  if (found != expected) fail("key %s of rank %d is %u, not %u", key, (int)rank, found, expected);
}

static void expect_text(pmix_rank_t rank, const char* key, const char* expected) {
  const pmix_value_t* value = registered(rank, key);
  if (value->type != PMIX_STRING || strcmp(value->data.string, expected) != 0) {
    fail("key %s of rank %d is '%s', not '%s'", key, (int)rank,
         value->type == PMIX_STRING ? value->data.string : "no text", expected);
  }
}

/* The expected shape, from the command line: "3,2,2" are the nodes' shares. */
static uint32_t share[MAX_RANKS];
static uint32_t nodes;
static uint32_t ranks;
static uint32_t node_of[MAX_RANKS];
static uint32_t local_of[MAX_RANKS];

static void read_shape(const char* shares, bool is_cyclic) {
  for (const char* at = shares; *at != '\0';) {
    char* end = NULL;
    share[nodes] = (uint32_t)strtoul(at, &end, 10);
    ranks += share[nodes++];
    at = *end == ',' ? end + 1 : end;
  }
  uint32_t used[MAX_RANKS] = {0};
  for (uint32_t rank = 0, node = 0; rank < ranks; ++rank) {
    if (is_cyclic) node = rank % nodes;
    if (!is_cyclic && used[node] == share[node]) ++node;
    node_of[rank] = node;
    local_of[rank] = used[node]++;
  }
}

static void peers_of(uint32_t node, char* text, size_t size) {
  size_t length = 0;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    if (node_of[rank] != node) continue;
    length += (size_t)snprintf(text + length, size - length, "%s%u", length > 0 ? "," : "", rank);
  }
}

static void check_job_keys(void) {
  const uint32_t mine = node_of[me.rank];
  expect_number(PMIX_RANK_WILDCARD, PMIX_JOB_SIZE, ranks);
  expect_number(PMIX_RANK_WILDCARD, PMIX_UNIV_SIZE, ranks);
  expect_number(PMIX_RANK_WILDCARD, PMIX_MAX_PROCS, ranks);
  expect_number(PMIX_RANK_WILDCARD, PMIX_NUM_NODES, nodes);
  expect_number(PMIX_RANK_WILDCARD, PMIX_LOCAL_SIZE, share[mine]);
  expect_number(PMIX_RANK_WILDCARD, PMIX_NODE_SIZE, share[mine]);
  expect_text(PMIX_RANK_WILDCARD, PMIX_JOBID, me.nspace);
  static char text[MAX_RANKS * 6];
  peers_of(mine, text, sizeof text);
  expect_text(PMIX_RANK_WILDCARD, PMIX_LOCAL_PEERS, text);
  expect_number(PMIX_RANK_WILDCARD, PMIX_LOCALLDR, (uint32_t)strtoul(text, NULL, 10));
}

static void check_rank_keys(void) {
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    char host[16];
    snprintf(host, sizeof host, "n%u", node_of[rank]);
    expect_number(rank, PMIX_LOCAL_RANK, local_of[rank]);
    expect_number(rank, PMIX_NODE_RANK, local_of[rank]);
    expect_number(rank, PMIX_NODEID, node_of[rank]);
    expect_text(rank, PMIX_HOSTNAME, host);
    expect_number(rank, PMIX_GLOBAL_RANK, rank);
    expect_number(rank, PMIX_APPNUM, 0);
  }
}

/* The node map as a client resolves it; the maps themselves come in libpmix's private encoding. */
static void check_node_map(void) {
  static char expected[MAX_RANKS * 6];
  char* list = NULL;
  must("resolve nodes", PMIx_Resolve_nodes(me.nspace, &list));
  size_t length = 0;
  for (uint32_t node = 0; node < nodes; ++node) {
    length += (size_t)snprintf(expected + length, sizeof expected - length, "%sn%u",
                               node > 0 ? "," : "", node);
  }
  if (strcmp(list, expected) != 0) fail("the nodes are '%s', not '%s'", list, expected);
  for (uint32_t node = 0; node < nodes; ++node) {
    char host[16];
    snprintf(host, sizeof host, "n%u", node);
    pmix_proc_t* procs = NULL;
    size_t count = 0;
    must("resolve peers", PMIx_Resolve_peers(host, me.nspace, &procs, &count));
    if (count != share[node]) fail("%s has %zu ranks, not %u", host, count, share[node]);
    for (size_t i = 0; i < count; ++i) {
      if (node_of[procs[i].rank] != node) fail("rank %u is not on %s", procs[i].rank, host);
    }
  }
}

static void put_number(const char* key, uint32_t number) {
  pmix_value_t value;
  memset(&value, 0, sizeof value);
  value.type = PMIX_UINT32;
  value.data.uint32 = number;
  must("put", PMIx_Put(PMIX_GLOBAL, key, &value));
  must("commit", PMIx_Commit());
}

static pmix_status_t get_number(pmix_rank_t rank, const char* key, uint32_t* number_p) {
  const pmix_proc_t proc = proc_of(rank);
  pmix_value_t* value = NULL;
  const pmix_status_t status = PMIx_Get(&proc, key, NULL, 0, &value);
  if (status == PMIX_SUCCESS) *number_p = value->data.uint32;
  return status;
}

static void expect_put(pmix_rank_t rank, const char* key, uint32_t expected) {
  uint32_t found = 0;
  const pmix_status_t status = get_number(rank, key, &found);
  if (status != PMIX_SUCCESS) fail("%s of rank %u: %s", key, rank, PMIx_Error_string(status));
  if (found != expected) fail("%s of rank %u is %u, not %u", key, rank, found, expected);
}

static pmix_status_t fence(const pmix_proc_t* procs, size_t count, bool collects) {
  pmix_info_t info;
  memset(&info, 0, sizeof info);
  PMIx_Info_load(&info, PMIX_COLLECT_DATA, &collects, PMIX_BOOL);
  return PMIx_Fence(procs, count, &info, 1);
}

static void check_exchange(void) {
  put_number("probe.first", 1000 + me.rank);
  must("collecting fence", fence(NULL, 0, true));
  for (uint32_t rank = 0; rank < ranks; ++rank) expect_put(rank, "probe.first", 1000 + rank);
  /* Not part of any fence's data: each get is a request to the owner's node. */
  put_number("probe.second", 2000 + me.rank);
  must("plain fence", fence(NULL, 0, false));
  for (uint32_t rank = 0; rank < ranks; ++rank) expect_put(rank, "probe.second", 2000 + rank);
  must("fence after direct modex", fence(NULL, 0, false));
}

static void fence_where(bool (*is_member)(uint32_t rank), const char* what) {
  static pmix_proc_t procs[MAX_RANKS];
  size_t count = 0;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    if (is_member(rank)) procs[count++] = proc_of(rank);
  }
  if (is_member(me.rank)) must(what, fence(procs, count, false));
}

static bool is_even(uint32_t rank) {
  return rank % 2 == 0;
}
static bool is_odd(uint32_t rank) {
  return rank % 2 == 1;
}
static bool is_on_first_node(uint32_t rank) {
  return node_of[rank] == 0;
}
static bool is_end(uint32_t rank) {
  return rank == 0 || rank == ranks - 1;
}
static bool is_anyone(uint32_t rank) {
  return rank < ranks;
}

/* Sets that overlap, that are open at the same time, and that come round again at once. */
static void check_subset_fences(void) {
  for (int round = 0; round < ROUNDS; ++round) {
    fence_where(is_even, "fence of the even ranks");
    fence_where(is_odd, "fence of the odd ranks");
    fence_where(is_on_first_node, "fence of the first node");
    fence_where(is_end, "fence of the first and the last rank");
    fence_where(is_anyone, "fence of everyone by name");
  }
}

static void stay(void) {
  for (;;) pause();
}

/* probe keys SHARES block|cyclic */
static void run_keys(char** arguments) {
  read_shape(arguments[0], strcmp(arguments[1], "cyclic") == 0);
  if (me.rank >= ranks) fail("rank %u of %u", me.rank, ranks);
  check_job_keys();
  check_rank_keys();
  check_node_map();
  check_exchange();
  check_subset_fences();
  if (me.rank == 0) puts("all checks passed");
}

/* probe lines COUNT: lines of many lengths on both streams, the last one without its newline. */
static void run_lines(char** arguments) {
  const int count = number_of(arguments[0]);
  for (int line = 0; line < count; ++line) {
    char text[512];
    const int length = (line * 37 + (int)me.rank * 11) % 400;
    memset(text, 'a' + (int)(me.rank % 26), (size_t)length);
    text[length] = '\0';
    FILE* file = line % 2 == 0 ? stdout : stderr;
    fprintf(file, "<%d %s>%s", line, text, line == count - 1 ? "" : "\n");
    if (line % 7 == 0) fflush(file);
  }
}

/* probe fence-without RANK: it dies before the fence; probe fence-leave RANK: it just ends. */
static void run_fence_without(char** arguments, bool leaves) {
  if (me.rank == (uint32_t)number_of(arguments[0])) {
    if (!leaves) raise(SIGKILL);
    PMIx_Finalize(NULL, 0);
    exit(0);
  }
  const pmix_status_t status = fence(NULL, 0, false);
  printf("rank %u left the fence: %s\n", me.rank, PMIx_Error_string(status));
}

/* probe modex-of-dead RANK: the others ask for what that rank never puts, and then it dies. */
static void run_modex_of_dead(char** arguments) {
  const pmix_rank_t victim = (pmix_rank_t)number_of(arguments[0]);
  must("fence", fence(NULL, 0, false));
  if (me.rank == victim) {
    usleep(200 * 1000);
    raise(SIGKILL);
  }
  uint32_t number = 0;
  const pmix_status_t status = get_number(victim, "probe.never", &number);
  if (status == PMIX_SUCCESS) fail("got a key that nobody put");
  printf("rank %u was refused: %s\n", me.rank, PMIx_Error_string(status));
}

static void run_cpus(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  printf("rank %u cpus", me.rank);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) printf(" %zu", cpu);
  }
  printf("\n");
}

/* Leaves a process behind that has a session of its own and ignores what it can. */
static void run_orphan(void) {
  if (fork() == 0) {
    setsid();
    signal(SIGTERM, SIG_IGN);
    if (fork() == 0) stay();
    stay();
  }
}

static volatile sig_atomic_t got_signal;
static void on_signal(int number) {
  got_signal = number;
}

/* probe await SIGNAL: says when it waits, then which signal came. */
static void run_await(char** arguments) {
  const struct sigaction action = {.sa_handler = on_signal};
  sigaction(number_of(arguments[0]), &action, NULL);
  must("fence", fence(NULL, 0, false));
  if (me.rank == 0) {
    puts("waiting");
    fflush(stdout);
  }
  /* Not sigsuspend: libpmix's thread may be the one that runs the handler. */
  while (got_signal == 0) usleep(1000);
  printf("rank %u got signal %d\n", me.rank, (int)got_signal);
}

static bool run_bad_rank(const char* mode, char** arguments) {
  const bool is_me = me.rank == (uint32_t)number_of(arguments[0]);
  if (strcmp(mode, "exit") == 0) { /* exit RANK CODE */
    if (is_me) exit(number_of(arguments[1]));
  } else if (strcmp(mode, "kill") == 0) { /* kill RANK SIGNAL */
    if (is_me) raise(number_of(arguments[1]));
  } else if (strcmp(mode, "abort") == 0) { /* abort RANK CODE TEXT */
    if (is_me) PMIx_Abort(number_of(arguments[1]), arguments[2], NULL, 0);
  } else {
    return false;
  }
  stay();
  return true;
}

static bool run_mode(const char* mode, char** arguments) {
  if (strcmp(mode, "keys") == 0) return run_keys(arguments), true;
  if (strcmp(mode, "lines") == 0) return run_lines(arguments), true;
  if (strcmp(mode, "fence-without") == 0) return run_fence_without(arguments, false), true;
  if (strcmp(mode, "fence-leave") == 0) return run_fence_without(arguments, true), true;
  if (strcmp(mode, "modex-of-dead") == 0) return run_modex_of_dead(arguments), true;
  if (strcmp(mode, "cpus") == 0) return run_cpus(), true;
  if (strcmp(mode, "orphan") == 0) return run_orphan(), true;
  if (strcmp(mode, "await") == 0) return run_await(arguments), true;
  if (strcmp(mode, "stubborn") == 0) signal(SIGTERM, SIG_IGN);
  if (strcmp(mode, "stubborn") == 0 || strcmp(mode, "stay") == 0) {
    must("fence", fence(NULL, 0, false));
    if (me.rank == 0) puts("waiting");
    fflush(stdout);
    stay();
  }
  return run_bad_rank(mode, arguments);
}

/* probe fds: before PMIx opens its own. */
static int show_fds(void) {
  enum { MANY = 1024 };
  char text[MANY * 6];
  int length = 0;
  for (int fd = 0; fd < MANY; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) length += snprintf(text + length, 6, " %d", fd);
  }
  printf("fds%.*s\n", length, text);
  return 0;
}

int main(int argc, char** argv) {
  char* none[] = {NULL, NULL, NULL, NULL};
  if (argc < 2) return 98;
  if (strcmp(argv[1], "fds") == 0) return show_fds();
  must("init", PMIx_Init(&me, NULL, 0));
  for (int i = 2; i < argc && i < 5; ++i) none[i - 2] = argv[i];
  if (!run_mode(argv[1], none)) fail("unknown mode %s", argv[1]);
  must("finalize", PMIx_Finalize(NULL, 0));
  return 0;
}
