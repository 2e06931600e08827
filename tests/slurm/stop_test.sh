#!/bin/bash
# Jobs that are asked to stop: all ranks leave at the same step, know why, and have time to save.
# Usage: stop_test.sh CASE TESTBED STOP_JOB
set -euo pipefail
case_name=$1 testbed=$2 stop_job=$3
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  rm -rf "$here"
}
trap clean_up EXIT

# submit NAME "OPTIONS of sbatch" "SETTINGS": a job of 8 ranks on 4 nodes; waits until it runs.
submit() {
  local name=$1 try
  cat >"$name.sh" <<END
#!/bin/bash
export $3 LOCKSTEP_RECORD=$here/$name.json
srun --mpi=pmix -N4 -n8 $stop_job $here/$name.saved
echo "srun ended with \$?"
END
  # shellcheck disable=SC2086 # options
  on_ctl sbatch --parsable -N4 -n8 $2 -o "$here/$name.log" "$name.sh" >"$name.id"
  for try in $(seq 300); do
    ! grep -q '^started' "$name.log" 2>/dev/null || return 0
    sleep 0.1
  done
  fail "$name has not started (try $try)"
}

# stopped NAME SECONDS REASON PATTERN: within that time all 8 ranks said the same, the main process
# saved, srun ended well, and the record says so too.
stopped() {
  local name=$1 reason=$3 try
  for try in $(seq $(($2 * 10))); do
    # What the ranks print comes through srun, later than the file perhaps.
    [ ! -e "$name.json" ] || [ "$(grep -c '^rank [0-7] stops' "$name.log")" -lt 8 ] || break
    sleep 0.1
  done
  [ -e "$name.json" ] || fail "$name has not stopped (try $try)"
  sed -n 's/^rank [0-7] \(stops .*\)/\1/p' "$name.log" >run.log
  expect_lines 8 "^stops at [0-9]+: reason $reason by rank [0-7] on n[0-3]: $4"
  [ "$(sort -u run.log | wc -l)" -eq 1 ] || fail "the ranks of $name do not agree"
  [ "$(cat "$name.saved")" = "$(sed -n 's/^stops at \([0-9]*\):.*/\1/p;q' run.log)" ] ||
    fail "$name has not saved"
  python3 -c '
import json, sys
record = json.load(open(sys.argv[1]))
assert record["ranks"] == 8 and record["nodes"] == 4 and record["restarts"] == 0, record
assert record["stop"]["text"] in open(sys.argv[2]).read(), record
assert record["stop"]["check"] == record["checks"], record
assert record["save"]["path"] == sys.argv[3], record
assert record["slurm_job"] == open(sys.argv[4]).read().strip(), record' \
    "$name.json" run.log "$here/$name.saved" "$name.id" || fail "the record of $name"
}

ended_well() { # NAME: also to Slurm
  local try
  for try in $(seq 100); do
    ! grep -q '^srun ended with 0$' "$1.log" || return 0
    sleep 0.1
  done
  fail "srun of $1 has not ended well (try $try)"
}

user_signal() {
  submit job "" LOCKSTEP_SIGNALS=USR1
  on_ctl scancel --signal=USR1 "$(cat job.id)"
  stopped job 10 2 'SIGUSR1$'
  ended_well job
}

# To one rank only, from outside.
one_rank() {
  submit job "" LOCKSTEP_SIGNALS=TERM
  "$testbed" exec n2 pkill -TERM -n -f "^$stop_job"
  stopped job 10 2 'SIGTERM$'
  grep -q 'by rank [45] on n2' run.log || fail "the rank is not named"
  ended_well job
}

cancel() {
  submit job "" LOCKSTEP_SIGNALS=TERM
  on_ctl scancel "$(cat job.id)"
  stopped job 10 5 'SIGTERM: the job was cancelled$'
}

preemption() {
  submit job "-t 20 --requeue" LOCKSTEP_SIGNALS=TERM
  on_ctl srun -Q -p urgent -N4 hostname >urgent.log || fail "the urgent job did not run"
  stopped job 10 4 'SIGTERM: the job is preempted$'
  ended_well job
}

# One whose limit is cut while it runs, and one that runs into its own; both take a minute.
time_limits() {
  submit cut "-t 20" LOCKSTEP_STOP_BEFORE_END=5min
  on_ctl scontrol update "job=$(cat cut.id)" TimeLimit=4
  submit reached "-t 1" LOCKSTEP_SIGNALS=TERM
  stopped cut 75 3 '[0-9]+ s are left before the job.s end, 300 s are needed$'
  ended_well cut
  stopped reached 60 3 'SIGTERM: the job has reached its time limit$'
}

"$case_name"
echo "passed: $case_name"
