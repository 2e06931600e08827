#!/bin/bash
# Checkpoints of a job under srun, seen from other nodes: whole, or not there.
# Usage: saving_test.sh CASE TESTBED SAVING_VICTIM SAVING_JOB
set -euo pipefail
case_name=$1 testbed=$2 victim=$3 saving_job=$4
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  remove_folder
}
trap clean_up EXIT

# 8 ranks on 4 nodes save 20 checkpoints, each in the place of the one before, while a reader on one
# of the nodes asks for the latest, and loads it.
reader() {
  # shellcheck disable=SC2016 # for the allocation's shell
  run salloc -Q -N4 bash -c '
    srun --mpi=pmix --overlap -N1 -n1 -w n3 "$0" poll "$1/store" 20 >"$1/reader.log" 2>&1 & reader=$!
    srun --mpi=pmix --overlap -N4 -n8 "$0" steps "$1/store" 1 20 || { kill $reader; exit 11; }
    wait $reader || exit 12' "$victim" "$here"
  cat reader.log >>run.log
  expect_status 0
  expect_lines 1 '^polled [0-9]+ times, loaded [0-9]+, '
  expect_lines 0 'passed over'
  expect_lines 0 'went back'
  [ "$(find store -type f | wc -l)" -eq 9 ] || fail "not 8 parts and a manifest: $(find store)"
}

# /tmp is every node's own: who saves there would find it out when it is too late.
not_shared() {
  run srun --mpi=pmix -N4 -n8 "$victim" full /tmp/store
  on_ctl srun -N4 -n4 rm -rf /tmp/store
  expect_lines 8 'rank 2 on n1 has written /tmp/store/step-00000002/part-00002-'
  expect_lines 8 'put /tmp/store on a file system that all nodes share'
  expect_lines 0 ': saved'
}

whole_interface() {
  run srun --mpi=pmix -N4 -n8 "$saving_job"
  expect_status 0
  passed_once run.log
}

"$case_name"
echo "passed: $case_name"
