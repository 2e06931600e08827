#!/bin/bash
# Jobs under Slurm seen from a login node, and asked to stop from there.
# Usage: outside_test.sh CASE TESTBED LOCKSTEP OUTSIDE_JOB
set -euo pipefail
case_name=$1 testbed=$2 lockstep=$3 outside_job=$4
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
clean_up() {
  # What was frozen must not stay so for the others.
  "$testbed" hurt n3 heal >/dev/null 2>&1 || true
  "$testbed" exec ctl scancel --user="$(id -un)" || true
  remove_folder
}
trap clean_up EXIT
# In which line it is does not matter here.
site='outside_job.cpp:[0-9]+'

# eventually PATTERN COMMAND...: until it prints such a line.
eventually() {
  local pattern=$1 try
  shift
  for try in $(seq 100); do
    run "$@"
    ! grep -qE -- "$pattern" run.log || return 0
    sleep 0.3
  done
  fail "not seen: $pattern (try $try)"
}

# submit NAME "OPTIONS of sbatch" COMMAND...: a batch job; its number goes to NAME.id.
submit() {
  local name=$1 options=$2
  shift 2
  printf '#!/bin/bash\nexport LOCKSTEP_RECORD=%s\n%s\n' "$here/$name.json" "$*" >"$name.sh"
  # shellcheck disable=SC2086 # options
  on_ctl sbatch --parsable -N4 -n8 $options -o "$here/$name.log" "$name.sh" >"$name.id"
}

# start NAME MODE: 8 ranks on 4 nodes, and waits until they run.
start() {
  local try
  submit "$1" "" "srun --mpi=pmix -N4 -n8 $outside_job $here/$1.go $2"
  for try in $(seq 300); do
    ! grep -q '^started' "$1.log" 2>/dev/null || return 0
    sleep 0.1
  done
  fail "$1 has not started (try $try)"
}

status() { run "$lockstep" status "$@"; }
trigger() { run "$lockstep" trigger "$@"; }

# A rank that stays away is named, though its node is another one.
missing_rank() {
  start job away
  eventually "^  rank 7 on n3, pid [0-9]+, is missing: last seen at $site .*'all are there', at least .*; in no call now\$" \
    "$lockstep" status "$(cat job.id)"
  expect_status 0
  expect_lines 1 "^slurm.pmix.$(cat job.id).0 \(root, Slurm job $(cat job.id).0\): 8 ranks on 4 nodes, up "
  expect_lines 1 "^  7 ranks wait at $site wait_for_everyone 'epoch end' since .*: 0-6\$"
  status "$(cat job.id).0" --all
  expect_lines 8 '^ +[0-7]  n[0-3] +[0-9]+  '
  status "$(cat job.id).1"
  expect_status 1
  touch job.go # and it goes on as if nobody had looked
  for try in $(seq 100); do
    [ -z "$(on_ctl squeue --noheader --jobs "$(cat job.id)" 2>/dev/null)" ] && break
    sleep 0.1
  done
  ! grep -q error job.log || fail "the job was disturbed (try $try)"
  grep -q '"stop": null' job.json || fail "the job did not end well"
}

# A frozen process is told from one that works; the step takes no CPU that the job has.
frozen_rank() {
  submit job "-p alone --exclusive" \
    "srun --mpi=pmix -N4 -n64 --cpus-per-task=1 $outside_job $here/job.go fire"
  eventually ': 64 ranks on 4 nodes' "$lockstep" status "$(cat job.id)"
  "$testbed" exec n2 pkill -STOP -n -f "^$outside_job"
  eventually '^  rank (3[2-9]|4[0-7]) on n2, .* is missing: .*; its process is stopped$' \
    "$lockstep" status "$(cat job.id)"
  expect_lines 1 '^  63 ranks (wait|have arrived) at '
  "$testbed" exec n2 pkill -CONT -f "^$outside_job"
  trigger "$(cat job.id)"
  expect_status 0
}

# Nodes that do not answer are named, the others are shown, and it ends.
frozen_node() {
  start job away
  "$testbed" hurt n3 freeze
  status "$(cat job.id)" --patience 5
  expect_status 3
  expect_lines 1 '^no answer within 5 s from n3$'
  expect_lines 1 '^  2 ranks not seen, on other nodes: 6-7$'
  expect_lines 1 "'epoch end' since .*: 0-5\$"
}

# All ranks leave at the same check, and the record says who asked and why.
reason() {
  start job fire
  trigger "$(cat job.id)" other --wait 1s
  expect_status 3
  expect_lines 1 "^asked; not noticed within 1 s: rank 0 on n0 .*; it will be at its next check of 'other'\$"
  trigger "$(cat job.id)" step --reason "maintenance at noon: 100% of \"n3\""
  expect_status 0
  local check
  check=$(sed -n 's/^asked; rank 0 noticed it at check \([0-9]*\)$/\1/p' run.log)
  [ -n "$check" ] || fail "it does not say at which check"
  for try in $(seq 100); do
    [ -e job.json ] && [ "$(grep -c '^rank' job.log)" -eq 8 ] && break
    sleep 0.1
  done
  mv job.log run.log
  expect_lines 8 "^rank [0-7] at $check: reason 6 root@ctl: maintenance at noon: 100% of \"n3\"\$"
  python3 -c '
import json, sys
stop = json.load(open(sys.argv[1]))["stop"]
assert stop["reason"] == "request" and stop["rank"] == 0 and stop["host"] == "n0", stop
assert stop["text"] == "root@ctl: maintenance at noon: 100% of \"n3\"", stop
assert stop["check"] == int(sys.argv[2]), stop' job.json "$check" || fail "the record (try $try)"
}

# Two steps of a job are two sessions; one is asked, the other goes on.
two_steps() {
  submit job "" "srun --overlap --mpi=pmix -N2 -n4 $outside_job $here/job.go fire &
srun --overlap --mpi=pmix -N2 -n4 -r2 $outside_job $here/job.go fire &
wait"
  local id steps try
  id=$(cat job.id)
  # Visits are steps too, so which numbers the job's own have is not known.
  for try in $(seq 100); do
    status "$id"
    mapfile -t steps < <(sed -n 's/^slurm.pmix.\([0-9.]*\) .*: 4 ranks on 2 nodes.*/\1/p' run.log)
    [ "${#steps[@]}" -lt 2 ] || break
    sleep 0.3
  done
  [ "${#steps[@]}" -eq 2 ] || fail "not two steps: ${steps[*]} (try $try)"
  trigger "$id"
  expect_status 1
  expect_lines 1 "job $id has 2 sessions: ${steps[0]}, ${steps[1]}; type one of them\$"
  trigger "${steps[1]}"
  expect_status 0
  eventually "^slurm.pmix.${steps[0]} " "$lockstep" status "${steps[0]}"
  eventually "no process of it has joined lockstep" "$lockstep" status "${steps[1]}"
  trigger "${steps[0]}"
  expect_status 0
}

# What cannot be is refused with what to type.
refusals() {
  status 99999
  expect_status 1
  expect_lines 1 '^lockstep status: there is no job 99999, or it has ended; type: squeue --me$'
  submit plain "" "srun -N4 -n4 sleep 300"
  eventually "job $(cat plain.id) runs, but no process of it has joined lockstep" \
    "$lockstep" status "$(cat plain.id)"
  trigger "$(cat plain.id)"
  expect_status 1
  expect_lines 1 'no process of it has joined lockstep'
  submit waiting "--begin=now+1hour" "true"
  status "$(cat waiting.id)"
  expect_status 1
  expect_lines 1 "job $(cat waiting.id) has not started: it is pending \(BeginTime\); type: squeue --start"
  submit array "--array=1-2 --hold" "true"
  status "$(cat array.id)_3"
  expect_status 1
  # Parts of a heterogeneous job.
  on_ctl sbatch --parsable -N1 -n1 : -N1 -n1 --wrap "sleep 300" >parts.id
  eventually "job $(cat parts.id) is heterogeneous, .*; type this on its nodes \(n[0-3],n[0-3]\): lockstep status" \
    "$lockstep" status "$(cat parts.id)"
  # Somebody else's.
  run setpriv --reuid=nobody --regid=nogroup --clear-groups "$lockstep" status "$(cat plain.id)"
  expect_status 1
  expect_lines 1 "job $(cat plain.id) is root's, and Slurm lets only its owner and root in: .*denied"
}

# The same as somebody who is not root, and who sees nobody else's.
plain_user() {
  local as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  chmod 755 . && mkdir mine && chown nobody mine
  start roots mute
  on_ctl "${as_nobody[@]}" sbatch --parsable -N2 -n4 -o "$here/mine/log" --chdir="$here/mine" \
    --wrap "srun --mpi=pmix -N2 -n4 $outside_job $here/mine/go fire" >mine.id
  eventually ' \(nobody, .*: 4 ranks on 2 nodes' "${as_nobody[@]}" "$lockstep" status "$(cat mine.id)"
  rc=0
  "$testbed" exec n0 "${as_nobody[@]}" "$lockstep" status >run.log 2>&1 || rc=$?
  expect_status 0
  expect_lines 1 'ranks on '
  expect_lines 1 ' \(nobody, '
  "$testbed" exec n0 "$lockstep" status >run.log # root sees both
  expect_lines 2 'ranks on '
  run "${as_nobody[@]}" "$lockstep" trigger "$(cat mine.id)" --reason mine
  expect_status 0
  eventually '^rank 3 at [0-9]+: reason 6 nobody@ctl: mine$' cat mine/log
}

"$case_name"
echo "passed: $case_name"
