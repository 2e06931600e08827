#!/bin/bash
# Who sees the same files, under srun, where every node has a /tmp of its own and one folder is
# everybody's. Usage: scopes_test.sh CASE TESTBED SCOPE_JOB SCOPES_JOB
set -euo pipefail
case_name=$1 testbed=$2 scope_job=$3 scopes_job=$4
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  on_nodes "rm -rf /tmp/scopes-*" || true
  remove_folder
}
trap clean_up EXIT
on_nodes() { on_ctl srun -N4 -n4 bash -c "$1"; }

# on_file_systems COUNT GROUPS SHELL: 8 ranks on 4 nodes say of the path that SHELL leaves in $path
# on each node, that there are so many, whose ranks are GROUPS; and as many prepare.
on_file_systems() {
  local count=$1 groups=$2 shell=$3 group rank
  # shellcheck disable=SC2016 # for the node's shell
  run srun --mpi=pmix -N4 -n8 bash -c "$shell"'
    exec "$0" who $path' "$scope_job"
  expect_status 0
  IFS=,
  for group in $groups; do
    IFS=' '
    for rank in $group; do
      expect_lines 1 "^rank $rank: $count file systems, here $group; [0-9]+ rounds\$"
    done
  done
  unset IFS
  # shellcheck disable=SC2016 # for the node's shell
  run srun --mpi=pmix -N4 -n8 bash -c "$shell"'
    mkdir -p $path && exec "$0" prepare $path' "$scope_job"
  expect_status 0
  expect_lines "$count" '^rank [0-7]: prepared it$'
  expect_lines $((8 - count)) '^rank [0-7]: found it$'
  # Nobody has left the name of a probe, and so that the test can be made again, nothing else.
  # shellcheck disable=SC2016 # for the node's shell
  run srun -N4 -n4 bash -c "$shell"'
    rm -f $path/prepared; find /tmp . -name ".lockstep-probe-*" | sed "s/^/left: /"'
  expect_lines 0 '^left: '
}
shared() { on_file_systems 1 '0 1 2 3 4 5 6 7' "path=$here"; }
private() { on_file_systems 4 '0 1,2 3,4 5,6 7' 'path=/tmp/scopes-private'; }
# Two nodes share, two have their own.
mixed() {
  on_file_systems 3 '0 1 2 3,4 5,6 7' "
    case \$(hostname) in n0 | n1) path=$here ;; *) path=/tmp/scopes-mixed ;; esac
    mkdir -p \$path"
}
# The same by links, one of which leads from a node's own folder to everybody's.
links() {
  on_nodes "ln -sfn $here /tmp/scopes-link"
  on_file_systems 1 '0 1 2 3 4 5 6 7' 'path=/tmp/scopes-link'
}

missing() {
  # shellcheck disable=SC2016 # for the node's shell
  on_nodes 'case $(hostname) in n2) ;; *) mkdir -p /tmp/scopes-missing ;; esac'
  run srun --mpi=pmix -N4 -n8 "$scope_job" who /tmp/scopes-missing
  expect_status 0
  expect_lines 8 ': io: .*/tmp/scopes-missing is there for some ranks, but not for rank 4 on n2, rank 5 on n2;'
}

whole_interface() {
  run srun --mpi=pmix -N4 -n8 "$scopes_job"
  expect_status 0
  passed_once run.log
}

"$case_name"
echo "passed: $case_name"
