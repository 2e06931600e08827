#!/bin/bash
# What becomes of a job, and of the testbed, when a rank, a node or a link is hurt.
# Usage: hurt_test.sh CASE TESTBED LOCKSTEP API_JOB FAULT_JOB NGRAM STOP_JOB SHRINK_JOB
set -euo pipefail
case_name=$1 testbed=$2 lockstep=$3 api_job=$4 fault_job=$5 stop_job=$7 shrink_job=$8
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
job=
clean_up() {
  "$testbed" hurt n3 heal || true
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  [ -z "$job" ] || wait "$job" || true
  remove_folder
}
trap clean_up EXIT

answers() { # NODE: its slurmd can be reached
  on_ctl timeout 2 bash -c ": </dev/tcp/$1/6818" 2>/dev/null
}

expect_healthy() {
  "$testbed" hurt n3 heal
  "$testbed" status >run.log || fail "is not healed"
  answers n3 || fail "n3 does not answer after it was healed"
  run srun --mpi=pmix -N4 -n8 "$lockstep" topo
  expect_status 0
  expect_lines 1 ': 8 ranks on 4 nodes'
}

# The killed one is a task of Slurm's; the others have to be alive well after their verdict.
killed_rank() {
  # shellcheck disable=SC2016 # for the task's shell
  run srun --mpi=pmix --kill-on-bad-exit=0 -N4 -n8 bash -c '
    if [ "$SLURM_PROCID" = 3 ]; then exec "$0" die 3; fi
    "$0" die 3
    status=$?
    sleep 1
    echo "rank $SLURM_PROCID lives on: $status"
    exit $status' "$fault_job"
  expect_status 137
  expect_lines 7 '^rank [0-9]: (lost|deadline) missing 3: .*rank 3 on n1'
  expect_lines 7 '^rank [0-9] lives on: 0$'
  expect_lines 0 '^rank 3 '
}

# Three tasks of Slurm's are killed one after the other, and the others go on together.
shrinks_without_ranks() {
  run srun --mpi=pmix --kill-on-bad-exit=0 -N4 -n8 "$shrink_job" kills 4 3
  expect_status 137
  expect_lines 5 '^rank [0-9] goes on with '
  [ "$(grep 'goes on with' run.log | cut -d' ' -f3- | sort -u | wc -l)" -eq 1 ] || fail "not all alike"
}

# start_job OPTIONS...: in the background, until clean_up ends it.
start_job() {
  : >run.log # there for wait_for_lines, however late the job is
  on_ctl env LOCKSTEP_GRACE=2s srun --mpi=pmix --kill-on-bad-exit=0 --no-kill "$@" >run.log 2>&1 &
  job=$!
}

wait_for_lines() {
  local try
  for try in $(seq 400); do
    [ "$(grep -c -- "$2" run.log || true)" -lt "$1" ] || return 0
    kill -0 "$job" 2>/dev/null || fail "the job ended too early (try $try)"
    sleep 0.1
  done
  fail "nobody said: $2"
}

# lose_node HOW: while ranks 6 and 7 on n3 are awaited, the node goes; the others name them.
lose_node() {
  start_job -N4 -n8 "$fault_job" stay 6,7
  wait_for_lines 2 '^rank [67]: stays'
  ! grep -q missing run.log || fail "the verdict came before the node was lost"
  "$testbed" hurt n3 "$1"
  wait_for_lines 6 missing
  expect_lines 6 '^rank [0-5]: lost missing 6,7: .*2 of 8 ranks were .* on n3'
  expect_lines 6 'missing'
}
killed_node() {
  lose_node kill
  ! answers n3 || fail "n3 answers although it was killed"
  ! "$testbed" status >status.log || fail "status does not tell that n3 is dead"
  grep -q '^n3  *dead' status.log || fail "status does not tell that n3 is dead"
  expect_healthy
}
# A whole node is lost: those on the others wait for it as long as they said, and go on.
shrinks_without_a_node() {
  start_job -N4 -n8 "$shrink_job" outlive
  wait_for_lines 8 '^rank [0-7] is at work'
  "$testbed" hurt n3 kill
  wait_for_lines 6 '^rank [0-5] goes on with 0,1,2,3,4,5$'
  expect_lines 6 'goes on with'
  expect_healthy
}
cut_node() {
  lose_node cut
  ! answers n3 || fail "n3 answers although it was cut off"
  grep -q '^n3 .* cut ' <("$testbed" status) || fail "status does not tell that n3 is cut off"
  expect_healthy
}
frozen_node() {
  lose_node freeze
  grep -q '^n3 .* frozen ' <("$testbed" status) || fail "status does not tell that n3 is frozen"
  expect_healthy
}

# submit_batch: a job whose ranks write to files of their own, out of srun's reach; runs until a rank
# gets SIGUSR1.
submit_batch() {
  local try
  cat >job.sh <<END
#!/bin/bash
export LOCKSTEP_SIGNALS=USR1 LOCKSTEP_RECORD=$here/record.json
srun --mpi=pmix --kill-on-bad-exit=0 -N4 -n8 -o $here/rank-%t $stop_job $here/saved
echo "srun ended with \$?"
sleep 60
END
  on_ctl sbatch --parsable --no-kill -N4 -n8 -o "$here/batch.log" job.sh >job.id
  for try in $(seq 300); do
    ! grep -q '^started' rank-0 2>/dev/null || break
    sleep 0.1
  done
  [ "$try" -lt 300 ] || fail "the job has not started"
  sleep 3 # a step that loses its srun or a slurmstepd while it is still launching is ended by Slurm
}

# Nobody misses it: all ranks stop together when one is told to.
ranks_live_on() {
  local try
  sleep 1 # for whoever would end them because of it
  [ ! -e record.json ] || fail "the ranks have ended"
  "$testbed" exec n2 pkill -USR1 -n -f "^$stop_job" || fail "no rank is left on n2"
  for try in $(seq 200); do
    [ ! -e record.json ] || break
    sleep 0.1
  done
  python3 -c 'import json; stop = json.load(open("record.json"))["stop"]
assert stop["signal"] == "SIGUSR1" and stop["host"] == "n2", stop
assert str(stop["check"]) == open("saved").read().strip(), stop' ||
    fail "the ranks have not stopped together (try $try)"
}

# The batch script sees that its srun is gone; the ranks see nothing.
killed_srun() {
  submit_batch
  "$testbed" exec n0 pkill -KILL -x srun
  ranks_live_on
  cat batch.log >run.log
  expect_lines 1 '^srun ended with 137$'
}

# The parent of two ranks is gone; they see nothing of it, and neither do the others.
killed_slurmstepd() {
  submit_batch
  "$testbed" exec n3 pkill -KILL -f '^slurmstepd: \[[0-9]*\.0\]' || fail "n3 has no slurmstepd"
  ! "$testbed" exec n3 pgrep -f '^slurmstepd: \[[0-9]*\.0\]' >/dev/null || fail "it is still there"
  ranks_live_on
  on_ctl scancel "$(cat job.id)"
  expect_healthy
}

# A link that loses packets makes a job slow, and nothing else.
lossy_link() {
  if ! command -v nft >/dev/null; then
    echo "SKIPPED: no nft; type: apt-get install nftables"
    exit 77
  fi
  "$testbed" hurt n3 loss 5
  run srun --mpi=pmix -N2 -w n2,n3 -n4 "$api_job"
  expect_status 0
  passed_once run.log
  "$testbed" exec n3 nft list table netdev lockstep >nft.log || fail "there is no rule"
  grep -qE 'counter packets [1-9]' nft.log || fail "not one packet was dropped"
  expect_healthy
  ! "$testbed" exec n3 nft list table netdev lockstep 2>/dev/null || fail "still loses packets"
}

slow_link() {
  "$testbed" hurt n3 rate 500kbit
  grep -q '^n3 .* up,rate ' <("$testbed" status) || fail "status does not tell that n3 is slow"
  run srun --mpi=pmix -N2 -w n2,n3 -n4 "$api_job"
  expect_status 0
  passed_once run.log
  # What the job sends may just fit through; this datagram is three times what passes at once.
  "$testbed" exec n3 bash -c 'dd if=/dev/zero bs=60000 count=1 status=none >/dev/udp/n2/9'
  "$testbed" exec n3 tc -s qdisc show dev eth0 >tc.log
  grep -qE '(dropped|overlimits) [1-9]' tc.log || fail "nothing was ever held back"
  expect_healthy
  [[ $("$testbed" exec n3 tc qdisc show dev eth0) != *tbf* ]] || fail "is still slow"
}

# Without its slurmd a node gets no new tasks, but those that it has go on: rank 1 is late, not
# lost.
stopped_daemon() {
  start_job -N2 -w n2,n3 -n2 "$fault_job" stay 1
  wait_for_lines 1 '^rank 1: stays'
  "$testbed" hurt n3 stop
  ! answers n3 || fail "n3 answers although its daemon was stopped"
  wait_for_lines 1 'missing'
  expect_lines 1 '^rank 0: deadline missing 1: .*rank 1 on n3'
  expect_healthy
}

"$case_name"
echo "passed: $case_name"
