#!/bin/bash
# Jobs under srun: what lockstep is there, and says where it cannot be.
# Usage: job_test.sh CASE TESTBED LOCKSTEP API_JOB FAULT_JOB NGRAM
set -euo pipefail
case_name=$1 testbed=$2 lockstep=$3 api_job=$4 ngram=$6
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  remove_folder
}
trap clean_up EXIT

# api RANKS NODES OPTIONS...: one job of that shape passes the tests of the whole interface.
api() {
  local ranks=$1 nodes=$2
  shift 2
  run srun --mpi=pmix "$@" "$lockstep" topo
  expect_status 0
  expect_lines 1 "^job slurm\.pmix\..*: $ranks ranks? on $nodes nodes?, known from pmix"
  run srun --mpi=pmix "$@" "$api_job"
  expect_status 0
  passed_once run.log
}
api_1_per_node() { api 4 4 -N4 --ntasks-per-node=1; }
api_2_per_node() { api 8 4 -N4 --ntasks-per-node=2; }
api_4_per_node() { api 16 4 -N4 --ntasks-per-node=4; }
api_uneven() { api 7 3 -n7 -N3; }
api_one_node() { api 4 1 -N1 -n4; }
api_single() { api 1 1 -N1; }

# Without this the other tests would prove little: nodes share nothing but what they are meant to.
separate_nodes() {
  local space
  # shellcheck disable=SC2016 # for the node's shell
  run srun -N4 -n4 -l bash -c '
    for space in net uts mnt ipc pid; do echo "$space $(readlink /proc/self/ns/$space)"; done
    echo "host $(hostname)"
    echo "switches $SLURM_TOPOLOGY_ADDR $SLURM_TOPOLOGY_ADDR_PATTERN"
    touch "/dev/shm/of-$(hostname)" "/tmp/of-$(hostname)" "/run/of-$(hostname)"'
  expect_status 0
  for space in net uts mnt ipc pid; do
    [ "$(sed -n "s/^[0-3]: $space //p" run.log | sort -u | wc -l)" -eq 4 ] || fail "shared: $space"
    expect_lines 0 "$(readlink "/proc/self/ns/$space" | sed 's/[][]/\\&/g')"
  done
  local node
  for node in 0 1 2 3; do
    expect_lines 1 "^$node: host n$node\$"
    expect_lines 1 "^$node: switches core\.s$((node / 2))\.n$node switch\.switch\.node\$"
  done
  # shellcheck disable=SC2016 # for the node's shell
  run srun -N4 -n4 -l bash -c '
    files=$(echo /dev/shm/of-* /tmp/of-* /run/of-*)
    ls -d $files && rm $files'
  expect_lines 12 '/of-'
  for node in 0 1 2 3; do expect_lines 3 "^$node: /.*/of-n$node\$"; done
  run srun --mpi=pmix -N4 -n8 "$lockstep" topo
  for node in 0 1 2 3; do
    expect_lines 1 "node $node n$node  ranks $((2 * node))-$((2 * node + 1))  leader $((2 * node)) "
  done
}

two_steps_at_once() {
  # shellcheck disable=SC2016 # for the allocation's shell
  run salloc -Q -N4 bash -c '
    srun --mpi=pmix --overlap -n8 "$0" >first 2>&1 & first=$!
    srun --mpi=pmix --overlap -n4 "$0" >second 2>&1 || exit 11
    wait $first || exit 12' "$api_job"
  cat first second >>run.log
  expect_status 0
  passed_once first
  passed_once second
}

# sbatch --wait looks every ten seconds only, so each element says by itself when it has ended.
job_array() {
  run sbatch --array=0-2 -N2 -n4 -o element-%a.log --wrap "
    srun --mpi=pmix $api_job; echo \$? >status.\$SLURM_ARRAY_TASK_ID"
  expect_status 0
  local i try
  for try in $(seq 600); do
    if [ -s status.0 ] && [ -s status.1 ] && [ -s status.2 ]; then break; fi
    sleep 0.1
  done
  for i in 0 1 2; do
    [ "$(cat status.$i 2>/dev/null)" = 0 ] || fail "element $i has not passed (try $try)"
    passed_once element-$i.log
  done
}

# run_parts COMMAND...: as run. After the last task has ended, srun of Slurm 22.05 now and then waits
# for ever for a thread of its mpi/pmix, where a step has parts: then once more.
run_parts() {
  local try
  for try in 1 2 3 4 5; do
    rc=0
    limit=25 on_ctl "$@" >run.log 2>&1 || rc=$?
    [ "$rc" -eq 124 ] || return 0
    [ -z "$("$testbed" exec ctl squeue --noheader --steps)" ] || break
    echo "srun has not ended, though no task is left (try $try)"
    "$testbed" exec ctl scancel --user="$(id -un)"
  done
  fail "did not end: $*"
}

# Slurm's PMIx makes one world of both parts, whose ranks count on through them.
heterogeneous_step() {
  run_parts srun --mpi=pmix -N1 -n2 "$lockstep" topo : -N2 -n4 "$lockstep" topo
  expect_status 0
  expect_lines 1 '^job slurm\.pmix\..*: 6 ranks on 3 nodes, known from pmix'
  run_parts srun --mpi=pmix -N1 -n2 "$api_job" : -N2 -n4 "$api_job"
  expect_status 0
  passed_once run.log
}

# Nodes, and then CPUs of nodes, that nobody else has meanwhile.
exclusive() {
  api 4 2 -p alone --exclusive -N2 -n4
  # shellcheck disable=SC2016 # for the allocation's shell
  run salloc -Q -N2 -n8 bash -c '
    srun --mpi=pmix --exclusive -n4 "$0" >first 2>&1 & first=$!
    srun --mpi=pmix --exclusive -n4 "$0" >second 2>&1 || exit 11
    wait $first || exit 12' "$api_job"
  cat first second >>run.log
  expect_status 0
  passed_once first
  passed_once second
}

# What a task would get, without joining: with and without PMIx, and in a batch script.
info() {
  LOCKSTEP_SIGNALS=TERM run srun --mpi=pmix -N2 -n2 "$lockstep" info
  expect_status 0
  expect_lines 2 '^   identity +present +PMIx: rank [01] of job slurm\.pmix\.'
  expect_lines 2 '^   bootstrap +present +.*PMIx [0-9.]+.*, server [0-9]'
  expect_lines 2 '^   fault tolerance +degraded '
  expect_lines 2 ' type: srun --no-kill --kill-on-bad-exit=0 --wait=0$'
  expect_lines 2 '^   time left +present +the main process asks squeue about job [0-9]+ '
  expect_lines 2 '^   notices +present +caught: SIGTERM; squeue tells '
  expect_lines 2 '^   key of the step +absent '
  expect_lines 2 '^   switches +present +core\.s0, by SLURM_TOPOLOGY_ADDR$'
  run srun --mpi=none -n2 env PATH=/nowhere "$lockstep" info
  expect_status 0
  expect_lines 2 '^   identity +degraded +rank [01] of 2 by Slurm '
  expect_lines 2 '^   bootstrap +absent '
  expect_lines 2 '^   time left +absent +no squeue in PATH'
  run salloc -Q -N2 -n4 "$lockstep" info
  expect_lines 1 '^   identity +present +a job of one'
  expect_lines 1 '^   time left +present '
}

# n jobs of one that all think they are rank 0 are the worst that can happen: nobody notices.
without_pmix() {
  local option
  for option in "" --mpi=none; do
    # shellcheck disable=SC2086 # none or one
    limit=30 run srun $option -N3 -n7 "$api_job"
    expect_status 1
    expect_lines 0 'PASSED'
    expect_lines 7 'this is rank [0-6] of 7 by Slurm'
    expect_lines 1 'type: srun --mpi=pmix'
    expect_lines 1 '^this is rank 0 of 7 by Slurm.*type: srun --mpi=pmix'
  done
  run srun -n1 "$api_job" # one task is one job, with or without
  expect_status 0
  passed_once run.log
}

# The same model, to the last bit, however the words are shared out, and an early stop.
example() {
  local shape
  mkdir cache
  for shape in "-N1 -n1" "-N4 -n8" "-N3 -n7"; do
    # shellcheck disable=SC2086 # options
    run srun --mpi=pmix $shape "$ngram" --cache cache --node-cache /tmp --output words.model \
      --no-trigger --quiet
    expect_status 0
    [ ! -s run.log ] || fail "--quiet printed something"
    if [ ! -e reference.model ]; then mv words.model reference.model; continue; fi
    cmp words.model reference.model || fail "the model of $shape differs"
    rm words.model
  done
  run srun --mpi=pmix -N4 -n8 "$ngram" --cache cache --node-cache /tmp --output words.model
  expect_status 0
  expect_lines 1 '^all stopped at step [0-9]+ of 20'
  expect_lines 1 'the same on all 8 ranks'
  expect_lines 1 '^  node caches   4 copies, one on each file system, of .* below /tmp$'
  local node
  for node in 0 1 2 3; do expect_lines 2 "^ *[0-7] .* n$node "; done
  run srun --mpi=pmix -N4 -n8 "$ngram" --cache cache --node-cache "$here/node" --output words.model
  expect_status 0
  expect_lines 1 '^  node caches   one copy of '
}

"$case_name"
echo "passed: $case_name"
