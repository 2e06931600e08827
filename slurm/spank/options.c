/* The one table of options, how their values are checked, and where each value comes from. */
#define _GNU_SOURCE
#include "options.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 31 /* characters of a value; the longest sensible one is far shorter */

struct row {
  const char* option;
  const char* argument_info; /* NULL: a flag */
  const char* usage;
  const char* variable;
  const char* argument; /* of the plugin in plugstack.conf */
  const char* example;
};

static const struct row rows[LOCKSTEP_OPTION_COUNT] = {
    [LOCKSTEP_OPTION_REPORT] = {"lockstep-report", "TIME",
                                "[lockstep] say who is waited for this often, e.g. 30s",
                                "LOCKSTEP_REPORT", "report", "30s"},
    [LOCKSTEP_OPTION_TIMEOUT] = {"lockstep-timeout", "TIME",
                                 "[lockstep] deadline of waits that name none, e.g. 10min",
                                 "LOCKSTEP_TIMEOUT", "timeout", "10min"},
    [LOCKSTEP_OPTION_STOP_BEFORE_END] = {"lockstep-stop-before-end", "TIME",
                                         "[lockstep] act this long before the job's end, e.g. 5min",
                                         "LOCKSTEP_STOP_BEFORE_END", "stop_before_end", "5min"},
    [LOCKSTEP_OPTION_FAULT_TOLERANCE] =
        {"lockstep-fault-tolerance", NULL,
         "[lockstep] go on without ranks that died; says what would "
         "end the step all the same",
         "LOCKSTEP_FAULT_TOLERANCE", "fault_tolerance", "yes"},
};

static const char duration_form[] = "a number and ms, s, min or h, or never";

/* What this process has learnt: each is written before the tasks start, and by one thread. */
static char given[LOCKSTEP_OPTION_COUNT][VALUE_MAX + 1];
static char defaults[LOCKSTEP_OPTION_COUNT][VALUE_MAX + 1];
static bool bad_variable[LOCKSTEP_OPTION_COUNT];
static bool is_unwanted[LOCKSTEP_FEATURE_COUNT];

static const char* const feature_arguments[LOCKSTEP_FEATURE_COUNT] = {
    [LOCKSTEP_FEATURE_KEY] = "key",
    [LOCKSTEP_FEATURE_EXIT_PAGE] = "exit_page",
};

bool lockstep_is_duration(const char* text) {
  static const struct {
    const char* name;
    double nanoseconds;
  } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}};
  if (strcmp(text, "never") == 0) return true;
  /* strtod would also take signs, spaces, words and hexadecimal numbers. */
  if (strspn(text, "0123456789.") == 0 || text[1] == 'x' || text[1] == 'X') return false;
  locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
  if (plain == (locale_t)0) return false;
  char* unit = NULL;
  const double number = strtod_l(text, &unit, plain);
  freelocale(plain);
  if (unit == text) return false;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; ++i) {
    const double longest = 9.0e18; /* the library counts nanoseconds in 63 bits */
    if (strcmp(unit, units[i].name) == 0) return number * units[i].nanoseconds <= longest;
  }
  return false;
}

static bool is_flag(enum lockstep_option option) {
  return rows[option].argument_info == NULL;
}

static bool fits(const char* text) {
  return strlen(text) <= VALUE_MAX && lockstep_is_duration(text);
}

static int on_option(int option, const char* text, int remote) {
  const struct row* row = &rows[option];
  const char* value = is_flag((enum lockstep_option)option) ? "yes" : text;
  if (bad_variable[option] && !remote) return -1; /* it was said; now Slurm ends the command */
  if (value == NULL || (!is_flag((enum lockstep_option)option) && !fits(value))) {
    slurm_error("lockstep: --%s=%.64s: expected %s; for example --%s=%s", row->option,
                value == NULL ? "" : value, duration_form, row->option, row->example);
    return -1;
  }
  (void)snprintf(given[option], sizeof given[option], "%s", value);
  return 0;
}

int lockstep_options_register(spank_t spank) {
  for (int i = 0; i < LOCKSTEP_OPTION_COUNT; ++i) {
    /* Slurm's interface takes pointers to non-constant text, and copies it. */
    struct spank_option option = {(char*)(uintptr_t)rows[i].option,
                                  (char*)(uintptr_t)rows[i].argument_info,
                                  (char*)(uintptr_t)rows[i].usage,
                                  !is_flag((enum lockstep_option)i),
                                  i,
                                  on_option};
    const spank_err_t error = spank_option_register(spank, &option);
    if (error != ESPANK_SUCCESS) {
      slurm_error("lockstep: Slurm refuses the option --%s: %s", rows[i].option,
                  spank_strerror(error));
      return -1;
    }
  }
  return 0;
}

/* The value, if `argument` is NAME=VALUE. */
static const char* value_of(const char* argument, const char* name) {
  const size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1
                                                                         : NULL;
}

static bool is_yes_or_no(const char* text) {
  return strcmp(text, "yes") == 0 || strcmp(text, "no") == 0;
}

static bool set_default(int option, const char* value) {
  const bool flag = is_flag((enum lockstep_option)option);
  if (flag ? !is_yes_or_no(value) : !fits(value)) return false;
  if (flag && strcmp(value, "no") == 0) value = "";
  (void)snprintf(defaults[option], sizeof defaults[option], "%s", value);
  return true;
}

static bool set_feature(int feature, const char* value) {
  if (!is_yes_or_no(value)) return false;
  is_unwanted[feature] = strcmp(value, "no") == 0;
  return true;
}

static void read_argument(const char* argument) {
  static const char yes_or_no[] = "yes or no";
  for (int i = 0; i < LOCKSTEP_OPTION_COUNT; ++i) {
    const struct row* row = &rows[i];
    const char* value = value_of(argument, row->argument);
    if (value == NULL) continue;
    if (set_default(i, value)) return;
    slurm_error("lockstep: %s in plugstack.conf: expected %s; for example %s=%s", argument,
                is_flag((enum lockstep_option)i) ? yes_or_no : duration_form, row->argument,
                row->example);
    return;
  }
  for (int i = 0; i < LOCKSTEP_FEATURE_COUNT; ++i) {
    const char* value = value_of(argument, feature_arguments[i]);
    if (value == NULL) continue;
    if (set_feature(i, value)) return;
    slurm_error("lockstep: %s in plugstack.conf: expected %s; for example %s=no", argument,
                yes_or_no, feature_arguments[i]);
    return;
  }
  slurm_error(
      "lockstep: %s in plugstack.conf is no argument of this plugin; type: man 8 lockstep-spank",
      argument);
}

void lockstep_options_read_arguments(int count, char* arguments[]) {
  for (int i = 0; i < count; ++i) read_argument(arguments[i]);
}

/* Slurm hands an option on in two variables: the one with the longer name is an option to the next
 * command, the other one to slurmstepd, where it would win over that command's own. */
static void carrier_name(enum lockstep_option option, const char* prefix, char* name, size_t size) {
  (void)snprintf(name, size, "%s_SLURM_SPANK_OPTION_lockstep_%s", prefix, rows[option].option);
  for (char* c = name; *c != '\0'; ++c) {
    if (*c == '-') *c = '_';
  }
}

void lockstep_option_inherited_name(enum lockstep_option option, char* name, size_t size) {
  carrier_name(option, "SLURM_SPANK_", name, size);
}

void lockstep_options_check_environment(void) {
  for (int i = 0; i < LOCKSTEP_OPTION_COUNT; ++i) {
    const char* value = getenv(rows[i].variable);
    if (value == NULL || is_flag((enum lockstep_option)i) || fits(value)) continue;
    slurm_error("lockstep: %s=%.64s: expected %s; for example %s=%s", rows[i].variable, value,
                duration_form, rows[i].variable, rows[i].example);
    /* What a hook returns fails the command only where the plugin is `required`; an option's
     * callback that fails does so always. So the value is made one of the option's. */
    char name[96];
    lockstep_option_inherited_name((enum lockstep_option)i, name, sizeof name);
    bad_variable[i] = setenv(name, value, 1) == 0;
  }
}

const char* lockstep_option_variable(enum lockstep_option option) {
  return rows[option].variable;
}

const char* lockstep_option_given(enum lockstep_option option) {
  return given[option][0] == '\0' ? NULL : given[option];
}

const char* lockstep_option_default(enum lockstep_option option) {
  return defaults[option][0] == '\0' ? NULL : defaults[option];
}

bool lockstep_feature_wanted(enum lockstep_feature feature) {
  return !is_unwanted[feature];
}

void lockstep_options_forget_inherited(void) {
  for (int i = 0; i < LOCKSTEP_OPTION_COUNT; ++i) {
    char name[96];
    lockstep_option_inherited_name((enum lockstep_option)i, name, sizeof name);
    const char* inherited = getenv(name);
    const char* now = getenv(rows[i].variable);
    if (inherited != NULL && is_flag((enum lockstep_option)i)) inherited = "yes";
    /* The same: it stays an option, which reaches the tasks even with --export=NONE. */
    if (now == NULL || (inherited != NULL && strcmp(inherited, now) == 0)) continue;
    (void)unsetenv(name);
    carrier_name((enum lockstep_option)i, "", name, sizeof name);
    (void)unsetenv(name);
  }
}
