#!/bin/bash
# The SPANK plugin under real daemons, on a testbed that has it in its plugstack.
# Usage: spank_test.sh CASE TESTBED PLUGIN TASK [API_JOB FAULT_JOB LOCKSTEP], where TASK is the
# program of spank_task.c
set -euo pipefail
case_name=$1 testbed=$2 plugin=$3 task=$4
# shellcheck disable=SC2034 # for the cases that need them
api_job=${5:-} fault_job=${6:-} lockstep=${7:-}
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=spank_options.sh
. "$(dirname "$0")/spank_options.sh"
# shellcheck source=spank_tasks.sh
. "$(dirname "$0")/spank_tasks.sh"
skip_without_testbed
here=
make_folder
stack=$LOCKSTEP_TESTBED_DIR/plugstack.conf
usual="optional $plugin report=44s"
jobs_left() { "$testbed" exec ctl squeue -h; }
clean_up() {
  if [ -e "$LOCKSTEP_TESTBED_DIR" ] && [ "$case_name" != up ]; then
    echo "$usual" >"$stack"
    "$testbed" exec ctl scancel --user="$(id -un)" || true
  fi
  remove_folder
}
trap clean_up EXIT

up() {
  echo "$usual" >stack
  "$testbed" up --nodes 3 --share "$(cd "$(dirname "$task")/../.." && pwd)" --plugstack "$here/stack"
  grep -qxF "$usual" "$stack" || fail "--plugstack did not reach the nodes"
  "$testbed" up --plugstack "$here/stack" --nodes 3 \
    --share "$(cd "$(dirname "$task")/../.." && pwd)" 2>again.log
  grep -q 'is up already' again.log || fail "the same plugstack is taken for another one"
}

down() {
  "$testbed" down
  [ ! -e "$LOCKSTEP_TESTBED_DIR" ] || fail "there are files left in $LOCKSTEP_TESTBED_DIR"
}

# Nobody but Slurm, and only what Slurm looks for: see `man 8 spank`.
symbols() {
  local wrong
  nm -D --defined-only "$plugin" >defined
  grep -q ' slurm_spank_init$' defined || fail "there is no slurm_spank_init"
  grep -q ' plugin_type$' defined || fail "there is no plugin_type"
  wrong=$(awk '{print $NF}' defined | grep -vE '^(plugin|slurm_spank|spank)_' || true)
  [ -z "$wrong" ] || fail "exports $wrong"
  wrong=$(readelf -d "$plugin" | grep NEEDED | grep -v '\[libc\.so' || true)
  [ -z "$wrong" ] || fail "needs more than libc: $wrong"
  wrong=$(readelf -d "$plugin" | grep -E 'RPATH|RUNPATH' || true)
  [ -z "$wrong" ] || fail "looks for libraries in $wrong"
  readelf -d "$plugin" | grep -E 'BIND_NOW|FLAGS.*NOW' >/dev/null || fail "is not bound at once"
  readelf -lW "$plugin" | grep GNU_RELRO >/dev/null || fail "has no read-only relocations"
  readelf -lW "$plugin" | grep GNU_STACK | grep -v RWE >/dev/null || fail "has an executable stack"
}

"$case_name"
echo "passed: $case_name"
