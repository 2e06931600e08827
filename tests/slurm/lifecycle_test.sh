#!/bin/bash
# A testbed leaves nothing behind: up, a job of 16 ranks, down, again and again.
# Usage: lifecycle_test.sh TESTBED API_JOB TIMES
set -euo pipefail
testbed=$1 api_job=$2 times=$3
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
export LOCKSTEP_TESTBED_DIR=$here/testbed
clean_up() {
  "$testbed" down || true
  remove_folder
}
trap clean_up EXIT
build=$(cd "$(dirname "$api_job")/../.." && pwd)

# in_namespaces FILE: live processes in any of the namespaces that the file names. Not those that
# have ended without their parent having noticed yet (Z).
in_namespaces() {
  local process
  find /proc/[0-9]*/ns -maxdepth 1 -type l -printf '%h %l\n' 2>/dev/null | grep -wF -f "$1" |
    cut -d/ -f3 | sort -u | while read -r process; do
    ! grep -q '^State:.[^ZX]' "/proc/$process/status" 2>/dev/null || echo "$process"
  done || true
}

for ((time = 1; time <= times; time++)); do
  "$testbed" up --nodes 4 --share "$build"
  # Asked from within, since that is where they are; mnt of ctl and so on, but for this machine's.
  for node in ctl n0 n1 n2 n3; do
    "$testbed" exec "$node" readlink /proc/self/ns/{net,uts,mnt,ipc,pid}
  done | sort -u >spaces
  [ "$(wc -l <spaces)" -eq 25 ] || fail "not 5 kinds of namespaces on 5 nodes"
  # What is to be gone afterwards is there now, or this would prove nothing.
  in_namespaces spaces >before
  [ "$(wc -l <before)" -ge 16 ] || fail "only $(wc -l <before) processes in the nodes"
  [[ $(ip -o link) != *lockstep-* ]] || fail "a link is in this machine's network"

  run srun --mpi=pmix -N4 -n16 "$api_job"
  expect_status 0
  passed_once run.log

  "$testbed" down
  [ ! -e "$LOCKSTEP_TESTBED_DIR" ] || fail "files: $(find "$LOCKSTEP_TESTBED_DIR")"
  in_namespaces spaces >after
  [ ! -s after ] || fail "processes: $(xargs ps -o pid,args -p <after)"
  # What grep prints counts, and not its status, since some process always ends meanwhile; the text
  # comes from a file, or grep would find itself.
  echo "$LOCKSTEP_TESTBED_DIR" >folder
  left=$(grep -lsF -f folder /proc/[0-9]*/mountinfo || true)
  [ -z "$left" ] || fail "mounts: $left"
  left=$(grep -lszxF -f folder /proc/[0-9]*/cmdline || true)
  [ -z "$left" ] || fail "processes: $left"
  echo "nothing is left after time $time"
done
