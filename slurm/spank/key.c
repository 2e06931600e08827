/* Carries a key from srun to the tasks without ever having it in an environment or in a file.
 *
 * What srun and slurmstepd share is the value of an option, in the message that starts the tasks.
 * The option is first given a value of the same length that is no secret: Slurm copies that to
 * environments and, for prolog and epilog, to slurmctld. Only when the job is there and just before
 * the message is made, the key is written over it. If a later Slurm should make the message
 * earlier, then the tasks have no key, and it is nowhere. */
#define _GNU_SOURCE
#include "key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_LENGTH (2 * LOCKSTEP_KEY_BYTES)

static const char place[] = "a-key-of-this-step-will-be-here-when-its-tasks-are-started......";
static_assert(sizeof place == TEXT_LENGTH + 1, "the key takes exactly its place");

static const char inherited[] = "SLURM_SPANK__SLURM_SPANK_OPTION_lockstep_lockstep_key";
static const char carried[] = "_SLURM_SPANK_OPTION_lockstep_lockstep_key";

static unsigned char key[LOCKSTEP_KEY_BYTES]; /* slurmstepd: until the tasks can have it */
static bool has_come;

static int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(const char* text) {
  if (strlen(text) != TEXT_LENGTH) return false;
  for (size_t i = 0; i < LOCKSTEP_KEY_BYTES; ++i) {
    const int high = nibble(text[2 * i]);
    const int low = nibble(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    key[i] = (unsigned char)(high * 16 + low);
  }
  return true;
}

static int on_option(int value, const char* text, int remote) {
  (void)value;
  if (remote) {
    /* Never a failure: Slurm would write the value to its log. */
    if (text != NULL) has_come = decode(text);
    return 0;
  }
  if (text != NULL && (strcmp(text, "none") == 0 || strcmp(text, place) == 0)) return 0;
  slurm_error("lockstep: --lockstep-key=%.64s: expected none; for example --lockstep-key=none",
              text == NULL ? "" : text);
  return -1;
}

static struct spank_option make_option(void) {
  static char name[] = "lockstep-key";
  static char argument[] = "none";
  static char usage[] = "[lockstep] do without the secret key that each step has";
  const struct spank_option option = {name, argument, usage, 1, 0, on_option};
  return option;
}

int lockstep_key_register(spank_t spank) {
  struct spank_option option = make_option();
  const spank_err_t error = spank_option_register(spank, &option);
  if (error == ESPANK_SUCCESS) return 0;
  slurm_error("lockstep: Slurm refuses the option --lockstep-key: %s", spank_strerror(error));
  return -1;
}

void lockstep_key_reserve(void) {
  const char* wanted = getenv(inherited);
  if (wanted != NULL && strcmp(wanted, "none") == 0) return;
  (void)setenv(inherited, place, 1);
}

void lockstep_key_options_known(spank_t spank) {
  (void)unsetenv(inherited);
  (void)unsetenv(carried);
  (void)spank_job_control_unsetenv(spank, carried);
}

static bool draw(unsigned char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t count = getrandom(bytes, size, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes += count;
    size -= (size_t)count;
  }
  return true;
}

void lockstep_key_make(spank_t spank) {
  struct spank_option option = make_option();
  char* text = NULL;
  if (spank_option_getopt(spank, &option, &text) != ESPANK_SUCCESS) return;
  if (text == NULL || strcmp(text, place) != 0) return;
  unsigned char bytes[LOCKSTEP_KEY_BYTES];
  if (!draw(bytes, sizeof bytes)) {
    slurm_error("lockstep: no key for this step: getrandom: %s", strerror(errno));
    return;
  }
  for (size_t i = 0; i < sizeof bytes; ++i) {
    text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
    text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
  }
  explicit_bzero(bytes, sizeof bytes);
}

/* Slurm keeps the text that it was sent as long as this process lives. */
static void wipe_text(spank_t spank) {
  struct spank_option option = make_option();
  char* text = NULL;
  if (spank_option_getopt(spank, &option, &text) != ESPANK_SUCCESS || text == NULL) return;
  explicit_bzero(text, strlen(text));
}

static bool write_key(int file) {
  const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  return pwrite(file, key, sizeof key, 0) == (ssize_t)sizeof key && fchmod(file, S_IRUSR) == 0 &&
         fcntl(file, F_ADD_SEALS, seals) == 0;
}

static int make_file(void) {
  const int file = memfd_create("lockstep-key", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file >= 0 && write_key(file)) return file;
  slurm_error("lockstep: no key for this step's tasks: %s", strerror(errno));
  if (file >= 0) (void)close(file);
  return -1;
}

int lockstep_key_take(spank_t spank, bool is_wanted) {
  if (!has_come) return -1;
  has_come = false;
  wipe_text(spank);
  const int file = is_wanted ? make_file() : -1;
  explicit_bzero(key, sizeof key);
  return file;
}
