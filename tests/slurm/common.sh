# What the tests on the testbed share: skipping, failing, running a job with a limit.
# shellcheck shell=bash

skip_without_testbed() {
  local reason
  if ! reason=$("$testbed" check 2>&1); then
    echo "SKIPPED: no Slurm testbed can be made here:"
    echo "$reason"
    exit 77
  fi
}

fail() {
  echo "FAILED: $*"
  local log
  for log in "$here"/*.log; do
    [ -e "$log" ] || continue
    echo "--- ${log##*/}" && tail -n 40 "$log"
  done
  exit 1
}

# A folder that all nodes see, since it is in the build tree; ranks keep their common files there.
make_folder() {
  here=$(mktemp -d "$PWD/run-XXXXXX")
  cd "$here"
}

# At the end of a test; jobs that are being ended may still write into it.
remove_folder() {
  local try
  cd /
  for try in $(seq 50); do
    ! rm -rf "$here" 2>/dev/null || return 0
    sleep 0.2
  done
  echo "cannot remove $here (try $try)"
}

# on_ctl COMMAND...: ends it and what it has started if it takes too long.
on_ctl() {
  timeout -k 10 "${limit:-100}" "$testbed" exec ctl env TMPDIR="$here" LOCKSTEP_TIMEOUT=60s "$@"
}

# run COMMAND...: what it prints goes to run.log, its exit status to rc.
run() {
  rc=0
  on_ctl "$@" >run.log 2>&1 || rc=$?
  [ "$rc" -ne 124 ] || fail "did not end: $*"
}

expect_status() { [ "$rc" -eq "$1" ] || fail "exit status $rc, not $1"; }

# expect_lines COUNT PATTERN: so many lines of run.log match.
expect_lines() {
  local count
  count=$(grep -cE -- "$2" run.log || true)
  [ "$count" -eq "$1" ] || fail "$count lines and not $1 are like: $2"
}

# passed_once FILE: all tests of one job passed. Ranks that were alone would each say so.
passed_once() {
  [ "$(grep -c '^\[  PASSED  \]' "$1" || true)" -eq 1 ] || fail "not one job that passed: $1"
  ! grep -q '^\[  FAILED  \]' "$1" || fail "a test of the job failed: $1"
}
