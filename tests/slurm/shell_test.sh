#!/bin/bash
# Job scripts under srun whose commands defer execution.
# Usage: shell_test.sh CASE TESTBED LOCKSTEP API_JOB
set -euo pipefail
case_name=$1 testbed=$2 lockstep=$3 api_job=$4
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  remove_folder
}
trap clean_up EXIT
# Not "here": that is a word of the testbed's own.
export api_job folder=$here
PATH=$(dirname "$lockstep"):$PATH

# job [OPTION of srun...]: 8 ranks on 4 nodes run the script on standard input. $r is the rank.
job() {
  { echo 'set -u; r=$SLURM_PROCID'; cat; } >script.sh
  run srun --mpi=pmix -N4 -n8 "$@" bash script.sh
}

# On no node is an agent any more.
nothing_is_left() {
  local node try left=
  for node in n0 n1 n2 n3; do
    for try in $(seq 50); do
      left=$("$testbed" exec $node pgrep -fx 'lockstep shell-agent') || break
      sleep 0.1
    done
    [ -z "$left" ] || fail "process $left is left on $node (try $try)"
  done
}

# Everybody waits, in the right order, and the same is printed everywhere.
commands() {
  head -c 100000 /dev/urandom >random
  job <<'SCRIPT'
for i in $(seq 20); do
  touch $folder/$i.$r
  lockstep barrier || exit 1
  [ $(ls $folder/$i.* | wc -l) -eq 8 ] || exit 2
done
lockstep first -- bash -c '[ $SLURM_PROCID = 0 ] && echo made >$folder/data; grep -q made $folder/data' || exit 3
lockstep first --scope node -- bash -c '[ $SLURM_LOCALID = 0 ] && touch /tmp/made-$SLURM_JOB_ID; rm /tmp/made-$SLURM_JOB_ID || [ $SLURM_LOCALID = 1 ]' || exit 4
lockstep once -- cat $folder/random >out.$r || exit 5
cmp out.$r $folder/random || exit 6
words=$(lockstep once -- hostname)
echo "all have $words"
lockstep first -- bash -c 'exit 7'
echo "status $?"
[ $r != 5 ] || lockstep trigger set stop
lockstep trigger check stop || exit 7
lockstep trigger check stop --quiet; [ $? = 1 ] || exit 8
SCRIPT
  expect_status 0
  expect_lines 8 '^all have n0$'
  expect_lines 1 '^status 7$'
  expect_lines 7 '^status 123$'
  expect_lines 7 "rank 0 on n0, which went first, failed: 'bash' exited with code 7\$"
  expect_lines 1 "^lockstep: trigger 'stop' fired at check 1: set, by rank 5 on n2\$"
  nothing_is_left
}

# What the last command has promised the others reaches them, though the task ends at once.
last_command() {
  local i
  for i in $(seq 10); do
    job <<'SCRIPT'
[ $r = 0 ] || sleep 0.$((RANDOM % 3))
lockstep first -- true
SCRIPT
    expect_status 0
    [ ! -s run.log ] || fail "in step $i"
  done
  nothing_is_left
}

# A signal to the step reaches the script and whatever runs in it: a command that waits outlives it,
# one that has just been started may not, and is typed again.
signals() {
  printf '#!/bin/bash\nsrun --mpi=pmix -N4 -n8 bash script.sh\n' >job.sh
  cat >script.sh <<'SCRIPT'
trap 'lockstep trigger set stop' USR1
lockstep barrier
touch $folder/ready.$SLURM_PROCID
for ((i = 0; i < 1000; ++i)); do
  lockstep trigger check stop
  rc=$?
  [ $rc != 138 ] || { i=$((i - 1)) && continue; }
  [ $rc = 1 ] || break
  sleep 0.01 2>/dev/null
done
echo "rank $SLURM_PROCID stops at $i: $rc"
SCRIPT
  : >run.log
  local id try
  id=$(on_ctl sbatch --parsable -N4 -n8 -o run.log job.sh)
  for try in $(seq 300); do
    [ "$(ls ready.* 2>/dev/null | wc -l)" -lt 8 ] || break
    sleep 0.1
  done
  on_ctl scancel --signal=USR1 "$id"
  for try in $(seq 300); do
    [ "$(grep -c '^rank' run.log)" -lt 8 ] || break
    sleep 0.1
  done
  expect_lines 8 '^rank [0-7] stops at [0-9]+: 0$'
  [ "$(grep -o 'stops at [0-9]*' run.log | sort -u | wc -l)" -eq 1 ] || fail "not at the same check"
  expect_lines 1 "trigger 'stop' fired at check [0-9]+: set, by rank [0-7] on n[0-3]\$"
}

# The others learn who is lost, and go on to say so; its own commands do not join again.
killed_agent() {
  job --no-kill --kill-on-bad-exit=0 --wait=0 <<'SCRIPT'
lockstep barrier
if [ $r = 3 ]; then
  for pid in $(pgrep -fx 'lockstep shell-agent'); do
    ! grep -qzx PMIX_RANK=3 /proc/$pid/environ || kill -9 $pid
  done
  timeout 30 lockstep barrier
  echo "mine $?"
else
  lockstep barrier --name after
  echo "others $?"
fi
SCRIPT
  expect_status 0
  expect_lines 1 '^mine 125$'
  expect_lines 1 'an agent of this task was here before and is gone, and the task with it to all others'
  expect_lines 7 '^others 125$'
  expect_lines 7 "'after': .* gone: rank 3 on n1"
  nothing_is_left
}

killed_shell() {
  job --no-kill --kill-on-bad-exit=0 --wait=0 <<'SCRIPT'
lockstep barrier
[ $r != 3 ] || kill -9 $$
lockstep barrier --name after
echo "others $?"
SCRIPT
  expect_lines 7 '^others 125$'
  expect_lines 7 "'after': .* gone: rank 3 on n1"
  nothing_is_left
}

# Before and after it in the same task.
programs() {
  job <<'SCRIPT'
lockstep barrier
$api_job >$folder/plain.$r 2>&1 && exit 2
true
SCRIPT
  expect_status 0
  job <<'SCRIPT'
lockstep barrier || exit 1
PMIX_GDS_MODULE=hash $api_job >$folder/hash.$r 2>&1 || exit 3
lockstep barrier
SCRIPT
  expect_status 0
  grep -q 'type: PMIX_GDS_MODULE=hash PROGRAM' plain.0 || fail "$(cat plain.0)"
  passed_once hash.0
  job <<'SCRIPT'
$api_job >$folder/before.$r 2>&1 || exit 1
[ "$(lockstep once -- echo after it)" = "after it" ]
SCRIPT
  expect_status 0
  passed_once before.0
}

# An agent that has joined nobody goes quietly with its task, and does not take the step with it.
set_alone() {
  job <<'SCRIPT'
[ $r = 1 ] && lockstep trigger set unheard && exit
sleep 1
echo lived on
SCRIPT
  expect_status 0
  expect_lines 7 '^lived on$'
  nothing_is_left
}

not_by_pmix() {
  run srun --mpi=none -n2 lockstep barrier
  expect_lines 2 'this script was not started as a task of a job; type: srun --mpi=pmix bash SCRIPT'
}

"$case_name"
echo "passed: $case_name"
