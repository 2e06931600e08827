#!/bin/bash
# Jobs that are asked to stop: all ranks leave at the same step, know why, and have time to save.
# Usage: stop_test.sh CASE TESTBED STOP_JOB NGRAM
set -euo pipefail
case_name=$1 testbed=$2 stop_job=$3 ngram=$4
examples=$(cd "$(dirname "$0")/../../slurm/examples" && pwd)
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  [ "$case_name" != preemption_at_once ] || grace 10
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  remove_folder
}
trap clean_up EXIT

# submit NAME "OPTIONS of sbatch" "SETTINGS" [WISH [LINE]]: a job of 8 ranks on 4 nodes; waits until
# it runs. What it prints when it runs again is added.
submit() {
  local name=$1 wish=${4:-} try
  rm -f "$name.log"
  cat >"$name.sh" <<END
#!/bin/bash
${5:-}
export $3 LOCKSTEP_RECORD=$here/$name.json
srun --mpi=pmix -N4 -n8 $stop_job $here/$name.saved $wish
echo "srun ended with \$?"
END
  # shellcheck disable=SC2086 # options
  on_ctl ${with:-} sbatch --parsable -N4 -n8 $2 -o "$here/$name.log" --open-mode=append \
    "$name.sh" >"$name.id"
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

# It is woken up before it is told to stop: that is not the reason.
preemption() {
  submit job "-t 20 --requeue" LOCKSTEP_SIGNALS=TERM,CONT
  on_ctl srun -Q -p urgent -N4 hostname >urgent.log || fail "the urgent job did not run"
  stopped job 10 4 'SIGTERM: the job is preempted$'
  ended_well job
}

# expect_requeue NAME PYTHON: what the record says of it.
expect_requeue() {
  python3 -c '
import json, sys
record = json.load(open(sys.argv[1]))
requeue = record["requeue"]
assert requeue["rank"] == 3 and requeue["host"] == "n1", record
assert requeue["text"] == "says rank 3", record
assert eval(sys.argv[2]), record' "$1.json" "$2" || fail "the record of $1"
}
slurm_says() { # NAME PATTERN: of that job, at last
  local try
  for try in $(seq 300); do
    ! on_ctl scontrol -o show job "$(cat "$1.id")" | grep -E -- "$2" >/dev/null || return 0
    sleep 0.1
  done
  on_ctl scontrol show job "$(cat "$1.id")"
  fail "Slurm does not say $2 of $1 (try $try)"
}

# Slurm lets it wait for two minutes. Not at once: a slurmd refuses a job that it has killed in the
# same second ("already killed, do not launch").
start_again() { # NAME
  sleep 2
  on_ctl scontrol update "JobId=$(cat "$1.id")" StartTime=now
}

# Suspended and resumed by an administrator, for longer than the timeout of its rounds.
suspension() {
  submit job "-t 20" "LOCKSTEP_SIGNALS=CONT LOCKSTEP_TIMEOUT=3s"
  on_ctl scontrol suspend "$(cat job.id)"
  slurm_says job 'JobState=SUSPENDED '
  sleep 5
  [ ! -e job.json ] || fail "it has stopped before it was resumed"
  on_ctl scontrol resume "$(cat job.id)"
  stopped job 20 8 'SIGCONT: the job goes on after it was suspended$'
  ended_well job
  # With notice: there are two seconds from that on.
  submit noticed "-t 20" "LOCKSTEP_SIGNALS=TSTP LOCKSTEP_TIMEOUT=3s"
  on_ctl scontrol suspend "$(cat noticed.id)"
  on_ctl scontrol resume "$(cat noticed.id)"
  stopped noticed 20 7 'SIGTSTP: the job is to be suspended$'
  ended_well noticed
}

# expect_advice COUNT PATTERN: in the log of a job that has read what it was told at the start.
expect_advice() {
  local try count
  for try in $(seq 100); do
    count=$(grep -cE -- "$2" job.log || true)
    [ "$count" -lt "$1" ] || [ "$1" -eq 0 ] || return 0
    [ "$1" -gt 0 ] || [ "$try" -lt 20 ] || break
    sleep 0.1
  done
  [ "$count" -eq "$1" ] || fail "$count lines and not $1 are like: $2"
}

# A signal that only the batch script gets is found where it is asked for.
batch_signal() {
  local option
  submit job "" LOCKSTEP_SIGNALS=USR1 "" "#SBATCH --signal=B:USR1@60"
  expect_advice 1 'no rank will see SIGUSR1: by --signal=B:USR1@60 Slurm sends it to the batch'
  on_ctl scancel "$(cat job.id)"
  submit job "" LOCKSTEP_SIGNALS=USR1 "" "#SBATCH --signal=USR1@60"
  expect_advice 0 'no rank will see'
  on_ctl scancel "$(cat job.id)"
  with="env SBATCH_SIGNAL=B:10@60" submit job "" LOCKSTEP_SIGNALS=USR1
  expect_advice 1 'no rank will see SIGUSR1: by SBATCH_SIGNAL=B:10@60'
}

# What would end the step with its first rank is said once, where fault tolerance is asked for.
fault_tolerance() {
  submit job "" LOCKSTEP_FAULT_TOLERANCE=yes
  expect_advice 0 'LOCKSTEP_FAULT_TOLERANCE'
  on_ctl scancel "$(cat job.id)"
  submit job "" "LOCKSTEP_FAULT_TOLERANCE=yes LOCKSTEP_DETACH=no"
  expect_advice 1 'LOCKSTEP_FAULT_TOLERANCE: this process stays attached to PMIx'
}

# Its time is over, but not its work: one rank wants it to run again, and it does.
requeue() {
  submit job "-t 20" LOCKSTEP_SIGNALS=USR1 requeue
  on_ctl scancel --signal=USR1 "$(cat job.id)"
  stopped job 10 2 'SIGUSR1$'
  slurm_says job 'JobState=PENDING .*Restarts=1 '
  [ "$(grep -c '^rank [0-7] will be back$' job.log)" -eq 8 ] || fail "not all know it"
  expect_requeue job 'requeue["verdict"] == "requeue" and requeue["done"]'
  start_again job
  slurm_says job 'JobState=RUNNING .*Restarts=1 '
  local try
  for try in $(seq 300); do
    [ "$(grep -c '^started' job.log)" -lt 2 ] || break
    sleep 0.1
  done
  on_ctl scancel --signal=USR1 "$(cat job.id)"
  slurm_says job 'JobState=PENDING .*Restarts=2 '
  python3 -c 'import json; assert json.load(open("job.json"))["restarts"] == 1' ||
    fail "the second run does not know that it is the second (try $try)"
}

# One element of a job array is one job, although Slurm's number of the last one to start is also
# that of them all.
requeue_of_an_element() {
  local element try
  cat >array.sh <<END
#!/bin/bash
export LOCKSTEP_SIGNALS=USR1 LOCKSTEP_RECORD=$here/\$SLURM_ARRAY_TASK_ID.json
srun --mpi=pmix -N2 -n4 $stop_job $here/\$SLURM_ARRAY_TASK_ID.saved requeue
END
  on_ctl sbatch --parsable --array=1-3 -N2 -n4 -t 20 -o "$here/%a.log" --open-mode=append array.sh \
    >array.id
  for element in 1 2 3; do
    echo "$(cat array.id)_$element" >$element.id
    for try in $(seq 300); do
      ! grep -q '^started' $element.log 2>/dev/null || break
      sleep 0.1
    done
  done
  for element in 3 2 1; do
    for try in $(seq $element); do slurm_says "$try" 'JobState=RUNNING .*Restarts=0 '; done
    on_ctl scancel --signal=USR1 "$(cat $element.id)"
    slurm_says $element 'JobState=PENDING .*Restarts=1 '
    sleep 1 # for what would become of the others
    python3 -c 'import json, sys
record = json.load(open(sys.argv[1] + ".json"))
assert record["requeue"]["done"] and record["slurm_job"] == sys.argv[2], record' \
      $element "$(cat $element.id)" || fail "the record of element $element"
  done
}

# A rank is lost when it has been agreed on: the others see to it.
requeue_by_survivors() {
  submit job "-t 20" "LOCKSTEP_SIGNALS=USR1 SLURM_KILL_BAD_EXIT=0" lost
  on_ctl scancel --signal=USR1 "$(cat job.id)"
  slurm_says job 'JobState=PENDING .*Restarts=1 '
  grep -q 'queued again all the same: .*rank 5 on n2' job.log || fail "the lost rank is not named"
  expect_requeue job 'requeue["verdict"] == "requeue" and requeue["done"]'
}

# Slurm would start it anew after the preemption, but one rank has found that there is no point.
never_again() {
  submit job "-t 20 --requeue" LOCKSTEP_SIGNALS=TERM never
  slurm_says job 'Requeue=1 '
  on_ctl srun -Q -p urgent -N4 hostname >urgent.log || fail "the urgent job did not run"
  stopped job 10 4 'SIGTERM: the job is preempted$'
  ended_well job
  slurm_says job 'JobState=COMPLETED .*Requeue=0 '
  [ "$(grep -c '^rank [0-7] will not be back$' job.log)" -eq 8 ] || fail "not all know it"
  expect_requeue job 'requeue["verdict"] == "never" and requeue["done"]'
}

# A job without a batch script cannot run again: Slurm says so, and so do the record and stderr.
requeue_refused() {
  on_ctl env LOCKSTEP_SIGNALS=USR1 LOCKSTEP_RECORD="$here/job.json" \
    srun --mpi=pmix -N4 -n8 "$stop_job" saved requeue >job.log 2>&1 &
  local job=$! try
  for try in $(seq 300); do
    ! grep -q '^started' job.log || break
    sleep 0.1
  done
  "$testbed" exec n2 pkill -USR1 -n -f "^$stop_job"
  wait "$job" || fail "the job failed (try $try)"
  grep -qE 'job [0-9]+ is not queued again: .+' job.log || fail "nobody says so"
  expect_requeue job 'requeue["verdict"] == "requeue" and not requeue["done"]'
  expect_requeue job 'requeue["error"] in open("job.log").read()'
}

# The example is preempted, is run again, and ends with the model of an undisturbed run. It stops by
# itself when it has learnt enough: at the same step too.
preempted_example() {
  local try words=(--cache "$here" --node-cache /tmp --steps 150 --min-gain 0.3 --patience 5)
  run srun --mpi=pmix -N4 -n8 "$ngram" "${words[@]}" --output undisturbed.model
  expect_status 0
  grep -E '^all stopped' run.log >undisturbed.end || fail "the undisturbed run did not stop early"

  on_ctl sbatch --parsable -t 20 -o "$here/job.log" "$examples/requeue.sbatch" \
    "$ngram" "${words[@]}" --output preempted.model --checkpoint state --pause 50 >job.id
  for try in $(seq 300); do
    ! grep -qE '^ *1[0-9]/150' job.log 2>/dev/null || break
    sleep 0.1
  done
  on_ctl srun -Q -p urgent -N4 hostname >urgent.log || fail "the urgent job did not run"
  slurm_says job 'JobState=PENDING .*Restarts=1 '
  grep -qE '^all stopped at step [0-9]+ of 150: SIGTERM: the job is preempted' job.log ||
    fail "it was not preempted (try $try)"
  [ -s state ] && [ ! -e preempted.model ] || fail "not the files of an interrupted run"
  start_again job
  slurm_says job 'JobState=COMPLETED .*Restarts=1 '
  grep -qE '^job [0-9]+, run 2, on n' job.log || fail "there was no second run"
  grep -qE '^  goes on       after step [0-9]+, from state$' job.log || fail "it began anew"
  cmp undisturbed.model preempted.model || fail "another model after a preemption"
  grep -E '^all stopped' job.log | tail -n 1 | cmp - undisturbed.end || fail "another last step"
  [ ! -e state ] || fail "the checkpoint is still there"
}

# Without grace it is queued again in the same moment, and has KillWait to save.
grace() { "$testbed" exec ctl scontrol update PartitionName=shared "GraceTime=$1"; }
preemption_at_once() {
  grace 0
  submit job "-t 20 --requeue" LOCKSTEP_SIGNALS=TERM
  on_ctl srun -Q -p urgent -N4 hostname >urgent.log || fail "the urgent job did not run"
  stopped job 10 4 'SIGTERM: the job is queued again, as after a preemption$'
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
