#!/bin/bash
# The scripts of slurm/examples, as users submit them: a case each, and one that all of them have.
# Usage: examples_test.sh CASE TESTBED LOCKSTEP FAULT_JOB NGRAM STOP_JOB
#        examples_test.sh covered CASE...: is there a case of each script, here or in another test?
set -euo pipefail
case_name=$1
examples=$(cd "$(dirname "$0")/../../slurm/examples" && pwd)

if [ "$case_name" = covered ]; then
  count=0
  for file in "$examples"/*; do
    count=$((count + 1))
    name=$(basename "$file" .sbatch)
    [[ " ${*:2} " != *" ${name//-/_} "* ]] || continue
    grep -qF "examples/${file##*/}" "$(dirname "$0")"/*_test.sh || {
      echo "FAILED: no test submits slurm/examples/${file##*/}"
      exit 1
    }
  done
  [ "$count" -gt 0 ] || { echo "FAILED: there are no examples" && exit 1; }
  echo "passed: $count examples"
  exit
fi

testbed=$2 lockstep=$3 fault_job=$4 ngram=$5 stop_job=$6
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
here=
make_folder
clean_up() {
  [ "$case_name" != fault_tolerant ] || "$testbed" hurt n3 heal || true
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  remove_folder
}
trap clean_up EXIT
script=$examples/${case_name//_/-}.sbatch

# submit [OPTION of sbatch...] -- [PROGRAM ARGUMENT...]: the case's script; sets job, logs to run.log.
submit() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1") && shift; done
  shift
  : >run.log # there for wait_for_lines, however late the job is
  job=$(on_ctl env "${settings[@]}" sbatch --parsable -o run.log "${options[@]}" "$script" "$@")
}
settings=(LOCKSTEP_LOG=warn)

# ended STATUS [JOB]: waits until the job is over; that is its exit status.
ended() {
  local try text=
  for try in $(seq 400); do
    text=$(on_ctl scontrol -o show job "${2:-$job}")
    [[ $text =~ JobState=(PENDING|RUNNING|COMPLETING|CONFIGURING) ]] || break
    sleep 0.3
  done
  [[ $text =~ JobState=(COMPLETED|FAILED)\ .*ExitCode=([0-9]+):0\  ]] ||
    fail "job ${2:-$job} did not end by itself (try $try): $text"
  [ "${BASH_REMATCH[2]}" -eq "$1" ] || fail "exit status ${BASH_REMATCH[2]}, not $1"
}

wait_for_lines() { # COUNT PATTERN
  local try
  for try in $(seq 1200); do
    [ "$(grep -cE -- "$2" run.log || true)" -lt "$1" ] || return 0
    sleep 0.1
  done
  fail "nobody said (try $try): $2"
}

says_what_to_type() {
  local options=()
  [ "$case_name" != array ] || options=(--array=1) # all elements would write to one log
  submit "${options[@]}" --
  ended 2
  expect_lines 1 "^which (two )?programs?\? type: sbatch ${script##*/} \./"
}

train() {
  submit -- "$lockstep" topo
  ended 0
  expect_lines 1 "^job slurm\.pmix\.$job\.0: 8 ranks on 4 nodes, known from pmix"
  # What sbatch is given wins; the words of the program stay whole; its exit status is the job's.
  # shellcheck disable=SC2016 # for the task's shell
  submit --nodes=3 --ntasks-per-node=1 -- bash -c 'echo "$# $1 on $HOSTNAME"; exit $SLURM_PROCID' x "a  b"
  ended 2
  expect_lines 3 '^1 a  b on n[0-2]$'
}

# The program's steps, at most those of all others apart; and one that fails stops all at that step.
job_script() {
  settings+=("PATH=$(dirname "$lockstep"):$PATH")
  # shellcheck disable=SC2016 # for the task's shell
  submit -- bash -c '[ "$RUN" -gt 0 ] && [ -d "/tmp/job-$SLURM_JOB_ID" ] && echo "$SLURM_PROCID $RUN $1"' step
  ended 0
  expect_lines 24 '^[0-7] [0-9]+ [123]$'
  [ "$(cut -d' ' -f2 run.log | sort -u | wc -l)" -eq 1 ] || fail "RUN differs"
  # shellcheck disable=SC2016 # for the task's shell
  submit -- bash -c '[ "$SLURM_PROCID $1" != "5 2" ]' step
  ended 3
  expect_lines 8 '^task [0-7] stops after step 2$'
  expect_lines 1 "^lockstep: trigger 'failed' fired at check 2: set, by rank 5 on n2\$"
  # The four minutes that are left are less than the five.
  submit -t 4 -- true
  ended 3
  expect_lines 8 '^task [0-7] stops after step 1$'
}

array() {
  local element
  mkdir cache-1 cache-2 cache-3
  submit -- "$ngram" --seed {} --cache cache-{} --node-cache /tmp --output words-{}.model \
    --no-trigger --quiet
  for element in 1 2 3; do ended 0 "${job}_$element"; done
  [ "$(sha256sum words-[123].model | cut -d' ' -f1 | sort -u | wc -l)" -eq 3 ] ||
    fail "not three models of three seeds: $(ls)"
  python3 -c '
import json, sys
records = [json.load(open(f"array-{sys.argv[1]}_{i}.json")) for i in (1, 2, 3)]
assert all(r["ranks"] == 4 and r["nodes"] == 2 for r in records), records
assert [r["save"]["path"] for r in records] == [f"words-{i}.model" for i in (1, 2, 3)], records
assert len({r["job"] for r in records}) == 3, records' "$job" || fail "the records"
}

# Each program waits until the other one runs.
two_steps() {
  # shellcheck disable=SC2016 # for the task's shell
  local program='touch "$1"; until [ -e "$2" ]; do sleep 0.1; done; "$0" topo; exit $3'
  submit -- bash -c "$program" "$lockstep" first second 0 -- \
    bash -c "$program" "$lockstep" second first 0
  ended 0
  mv "two-steps-$job.first" run.log
  expect_lines 1 '^job slurm\.pmix\.[0-9]+\.[01]: 8 ranks on 4 nodes, known from pmix'
  mv "two-steps-$job.second" run.log
  expect_lines 1 '^job slurm\.pmix\.[0-9]+\.[01]: 4 ranks on 4 nodes, known from pmix'
  submit -- bash -c 'exit 3' -- true
  ended 3
  submit -- true -- bash -c 'exit 4'
  ended 4
}

# Its srun waits although no task is left: see run_parts in job_test.sh.
hangs() {
  local try
  for try in $(seq 60); do
    [[ $(on_ctl scontrol -o show job "$job") =~ JobState=(PENDING|RUNNING|CONFIGURING) ]] || return 1
    sleep 0.3
  done
  ! on_ctl squeue --noheader --steps --format=%i | grep -v '\.batch$' >/dev/null
}

heterogeneous() {
  local try
  for try in 1 2 3 4 5; do
    # shellcheck disable=SC2016 # for the tasks' shells
    submit -- bash -c 'echo "server $PMIX_RANK"; exec "$0" topo' "$lockstep" -- \
      bash -c 'echo "worker $PMIX_RANK"; exec "$0" topo' "$lockstep"
    hangs || break
    echo "srun has not ended, though no task is left (try $try)"
    on_ctl scancel "$job"
  done
  ended 0
  expect_lines 1 '^job slurm\.pmix\..*: 6 ranks on 3 nodes, known from pmix'
  expect_lines 2 '^server [01]$'
  expect_lines 4 '^worker [2-5]$'
}

# stopped REASON PATTERN: all ranks said the same, have saved, and so does the record.
stopped() {
  ended 0
  expect_lines 8 "^rank [0-7] stops at [0-9]+: reason $1 by rank [0-7] on n[0-3]: $2\$"
  python3 -c '
import json, re, sys
record = json.load(open(sys.argv[1]))
assert record["ranks"] == 8 and record["slurm_job"] == sys.argv[2], record
assert re.fullmatch(sys.argv[3], record["stop"]["text"]), record
assert int(open("saved").read()) == record["stop"]["check"] == record["checks"], record
assert record["save"]["path"] == "saved", record' \
    "${case_name//_/-}-$job.json" "$job" "$2" || fail "the record"
  rm saved
}

# By the clock: less than the five minutes are left from the start. By a signal to the ranks; that of
# the script's own line is waited for in forward_signal, at the same time as another one.
stop_in_time() {
  submit -t 4 -- "$stop_job" saved
  stopped 3 '[0-9]+ s are left before the job.s end, 300 s are needed'
  settings+=(LOCKSTEP_STOP_BEFORE_END=1s)
  submit -- "$stop_job" saved
  wait_for_lines 1 '^started'
  on_ctl scancel --signal=USR1 "$job"
  stopped 2 SIGUSR1
}

# The script alone gets the signal: from scancel, and by its own line.
forward_signal() {
  local other
  other=$(on_ctl env LOCKSTEP_STOP_BEFORE_END=1s sbatch --parsable -t 6 -o other.log \
    "$examples/stop-in-time.sbatch" "$stop_job" other.saved)
  submit -- "$stop_job" saved
  wait_for_lines 1 '^started'
  on_ctl scancel --batch --signal=USR1 "$job"
  stopped 2 SIGUSR1
  expect_lines 1 'USR1 goes to the ranks'
  # It waits for the ranks and not for a signal, nor for the next one, and ends as they do.
  # shellcheck disable=SC2016 # for the task's shell
  submit -- bash -c 'count=0
    trap "count=\$((count + 1)); echo got \$count" USR1
    echo "started"
    until [ "$count" -eq 2 ]; do sleep 0.1; done
    sleep 2; echo "rank is done"; exit $((40 + SLURM_PROCID))'
  wait_for_lines 8 '^started'
  on_ctl scancel --batch --signal=USR1 "$job"
  wait_for_lines 8 '^got 1'
  on_ctl scancel --batch --signal=USR1 "$job"
  ended 47
  expect_lines 8 '^rank is done'
  submit -t 6 -- "$stop_job" saved
  stopped 2 SIGUSR1
  expect_lines 1 'USR1 goes to the ranks'
  ended 0 "$other"
  mv other.log run.log
  expect_lines 8 '^rank [0-7] stops at [0-9]+: reason 2 by rank [0-7] on n[0-3]: SIGUSR1$'
}

# Even where the site wants the opposite. The others have to be alive well after the verdict, and
# after Slurm has noticed that the node is lost.
fault_tolerant() {
  settings+=(SLURM_KILL_BAD_EXIT=1 SLURM_WAIT=1)
  # shellcheck disable=SC2016 # for the task's shell
  submit -- bash -c '
    if [ "$SLURM_PROCID" = 3 ]; then exec "$0" die 3; fi
    "$0" die 3
    sleep 3
    echo "rank $SLURM_PROCID lives on"' "$fault_job"
  ended 137
  expect_lines 7 '^rank [0-7]: (lost|deadline) missing 3: .*rank 3 on n1'
  expect_lines 7 '^rank [0-7] lives on$'
  # shellcheck disable=SC2016 # for the task's shell
  submit -- bash -c '"$0" stay 6,7
    until [ -e go ]; do sleep 0.1; done
    echo "rank $SLURM_PROCID lives on"' "$fault_job"
  wait_for_lines 2 '^rank [67]: stays'
  "$testbed" hurt n3 kill
  wait_for_lines 6 'missing 6,7'
  local try
  for try in $(seq 400); do
    [[ ! $(on_ctl sinfo -h -n n3 -o %T) =~ ^down ]] || break
    sleep 0.1
  done
  [[ $(on_ctl sinfo -h -n n3 -o %T) =~ ^down ]] || fail "Slurm does not notice the node (try $try)"
  touch go
  wait_for_lines 6 '^rank [0-5] lives on$'
}

mpirun() {
  settings+=(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LOCKSTEP_REPORT=7s)
  if ! command -v mpirun >/dev/null; then
    echo "SKIPPED: no mpirun; type: apt-get install openmpi-bin"
    exit 77
  fi
  submit -- "$lockstep" topo
  ended 0
  expect_lines 1 '^job [0-9]+: 8 ranks on 4 nodes, known from pmix'
  # Settings reach the ranks of all nodes; a rank's exit status is the job's.
  # shellcheck disable=SC2016 # for the rank's shell
  submit -- bash -c 'echo "$(hostname) $LOCKSTEP_REPORT"'
  ended 0
  local node
  for node in 0 1 2 3; do expect_lines 2 "^n$node 7s\$"; done
  submit -- bash -c 'exit 3'
  ended 3
}

says_what_to_type
"$case_name"
echo "passed: $case_name"
