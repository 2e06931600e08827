#!/bin/bash
# One property of the example per case, seen from outside: exit codes, what is printed, what files
# there are afterwards. Usage: example_test.sh CASE LOCKSTEP NGRAM HELLO_C
set -euo pipefail
case_name=$1
lockstep=$(realpath "$2") ngram=$(realpath "$3") hello_c=$(realpath "$4")

here=$(realpath "$(mktemp -d)")
job=
clean_up() {
  if [ -n "$job" ]; then kill -TERM "$job" 2>/dev/null || true; fi
  rm -rf "$here"
}
trap clean_up EXIT
cd "$here"
mkdir cache node tmp
export TMPDIR=$here/tmp

fail() {
  echo "FAILED: $*"
  for log in *.log; do echo "--- $log"; tail -n 30 "$log"; done
  exit 1
}

# run RANKS NODES ARGS...: a job that must end by itself; what it prints goes to run.log, its exit
# code to rc.
run() {
  local ranks=$1 nodes=$2
  shift 2
  rc=0
  timeout -k 5 100 "$lockstep" run -n "$ranks" --nodes "$nodes" "$ngram" --cache cache \
    --node-cache node --output words.model "$@" >run.log 2>&1 || rc=$?
  [ "$rc" -ne 124 ] || fail "the job did not end: $*"
}
expect_success() { [ "$rc" -eq 0 ] || fail "exit code $rc, not 0"; }

# A failure is told once, by one rank, and says $1; nothing else of the job is left.
expect_failure() {
  [ "$rc" -eq 1 ] || fail "exit code $rc, not 1 (wanted: $1)"
  [ "$(grep -c '^ngram: rank ' run.log)" -eq 1 ] || fail "the reason is not told once (wanted: $1)"
  grep -q "^ngram: rank .*$1" run.log || fail "the reason is not '$1'"
  expect_no_leftovers
}
expect_no_leftovers() {
  local left
  left=$(find cache node tmp . -maxdepth 1 \
    \( -name 'run-*' -o -name 'part-*' -o -name 'lockstep-ngram-*' -o -name '*.tmp' \))
  [ -z "$left" ] || fail "left behind: $left"
}

# However the words are shared out, the sum of the counts is the same to the last bit.
same_model() {
  local shape
  for shape in 1x1 2x1 2x2 5x3 8x4 64x4; do
    run "${shape%x*}" "${shape#*x}" --no-trigger --quiet
    expect_success
    [ ! -s run.log ] || fail "--quiet printed something"
    expect_no_leftovers
    if [ ! -e reference.model ]; then
      mv words.model reference.model
      [ "$(stat -c %s reference.model)" -gt 100000 ] || fail "the model is too small to be true"
    fi
    [ "$shape" = 1x1 ] || cmp words.model reference.model || fail "the model of $shape differs"
    rm -f words.model
  done
  # The comparison can fail: a model of other n-grams is not the same.
  run 2 1 --no-trigger --quiet --order 4
  expect_success
  ! cmp -s words.model reference.model || fail "a model of another order is the same"
}

# All ranks leave after the same step, before the last one, and the asker is among them.
early_stop() {
  run 8 4
  expect_success
  expect_no_leftovers
  local step
  step=$(sed -n 's/^all stopped at step \([0-9]*\) of 20: ranks\? [0-9].* asked to$/\1/p' run.log)
  [ -n "$step" ] && [ "$step" -lt 20 ] || fail "did not stop early"
  # Columns: rank, node, host, words, steps, perplexity, why.
  awk '$3 ~ /^n[0-3]$/ && $1 ~ /^[0-9]+$/ {print $1, $5}' run.log >table
  local rank
  for rank in 0 1 2 3 4 5 6 7; do echo "$rank $step"; done | cmp - table || fail "the table differs"
  grep -q 'asked: 2 steps gained too little' run.log || fail "nobody says that it asked"
  # The nodes are emulated and share their disk.
  grep -q '^  node caches   one copy of ' run.log || fail "not one copy"
  grep -q 'the same on all 8 ranks' run.log || fail "the ranks do not say that they agree"
  # One that cannot be pleased asks after its patience, whatever the text; step 1 has no gain.
  run 5 2 --patience 3 --min-gain 100
  expect_success
  grep -q '^all stopped at step 4 of 20: ranks 0, 1 and 3 more asked to$' run.log ||
    fail "not at step 4"
}

failures() {
  : >empty.txt
  echo lonely >one.txt
  run 8 4 --data missing.txt; expect_failure 'cannot read the data file missing.txt: No such file'
  run 8 4 --data empty.txt; expect_failure 'empty.txt has too few words (0)'
  run 8 4 --data one.txt; expect_failure 'one.txt has too few words (1)'
  run 8 4 --data /; expect_failure 'it is not a plain file'
  run 8 4 --steps 0; expect_failure 'steps: Value 0 not in range'
  run 8 4 --nonsense; expect_failure 'not expected: --nonsense'
  mv cache real_cache && : >cache
  run 8 4; expect_failure 'cannot make the folder .*/cache'
  rm cache && mv real_cache cache
  # Whoever makes the copy fails, all others of the job have to end too.
  mv node real_node && : >node
  run 8 4; expect_failure 'cannot make the folder node'
  rm node && mv real_node node
  mkdir words.model
  run 8 4; expect_failure 'cannot save to words.model: it is a folder'
  rmdir words.model
  # Found out only after all the work: the folder was there at the beginning.
  mkdir out
  : >run.log
  timeout -k 5 100 "$lockstep" run -n 8 --nodes 4 "$ngram" --cache cache --node-cache node \
    --output out/words.model --no-trigger --pause 100 >run.log 2>&1 &
  job=$!
  local try
  for try in $(seq 300); do
    ! grep -q '^ *1/20' run.log || break
    sleep 0.05
  done
  rmdir out || fail "the job did not start (try $try)"
  rc=0
  wait "$job" || rc=$?
  job=
  expect_failure 'save: cannot .*No such file'
  [ ! -e out ] || fail "there is a model after a failure"
}

damaged_cache() {
  run 4 2 --keep-cache
  expect_success
  grep -q 'prepared by rank 0' run.log || fail "the first run does not say that it prepares"
  run 4 2 --keep-cache
  expect_success
  grep -q 'data set      found' run.log || fail "the second run does not use the kept data set"
  # Another seed is another data set.
  run 4 2 --keep-cache --seed 2
  expect_success
  grep -q 'prepared by rank 0' run.log || fail "two seeds share a data set"
  expect_no_leftovers

  local file
  rm cache/* && run 4 2 --keep-cache && file=$(echo cache/dataset-*)
  cp "$file" whole
  printf 'X' | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
  run 4 2 --keep-cache; expect_failure 'is damaged: its hash is'
  head -c 1000 whole >"$file"
  run 4 2 --keep-cache; expect_failure 'is damaged: its header promises'
  : >"$file"
  run 4 2 --keep-cache; expect_failure 'is damaged: it has only 0 bytes'
  tac whole >"$file"
  run 4 2 --keep-cache; expect_failure 'is damaged: it does not begin'
  # Without the option a kept data set is nobody's business.
  run 4 2
  expect_success
  cp whole "$file"
  run 4 2 --keep-cache
  expect_success
}

# Two runs at once in the same folders do not mix: each saves what it would save alone.
two_runs() {
  local order pids=()
  for order in 3 4; do
    run 4 2 --no-trigger --order "$order" --keep-cache
    expect_success
    mv words.model "alone.$order"
  done
  rm -f cache/*
  for order in 3 4; do
    timeout -k 5 100 "$lockstep" run -n 4 --nodes 2 "$ngram" --cache cache --node-cache node \
      --keep-cache --no-trigger --order "$order" --output "beside.$order" \
      >"beside.$order.log" 2>&1 &
    pids+=($!)
  done
  wait "${pids[0]}" || fail "the first of two runs"
  wait "${pids[1]}" || fail "the second of two runs"
  for order in 3 4; do
    cmp "alone.$order" "beside.$order" || fail "order $order is another model"
  done
  expect_no_leftovers
}

# Kills rank $1 in the middle of a job; $2... are options of the launcher. The job ends with the
# exit code of the killed rank, and the model of an earlier run stays whole.
kill_rank() {
  local victim=$1 pid name= try
  shift
  run 8 4
  expect_success
  cp words.model earlier.model
  timeout -k 5 100 "$lockstep" run "$@" -n 8 --nodes 4 "$ngram" --cache cache --node-cache node \
    --output words.model --min-gain 0 --patience 1000 --steps 1000 --pause 20 >run.log 2>&1 &
  job=$!
  for try in $(seq 300); do
    if grep -q '^ *50/1000' run.log; then break; fi
    kill -0 "$job" 2>/dev/null || fail "the job ended before a rank was killed"
    sleep 0.1
  done
  # No other test's ranks are in this folder.
  for pid in $(pgrep -x ngram); do
    [ "$(readlink "/proc/$pid/cwd")" = "$here" ] || continue
    name=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^PMIX_RANK=//p')
    [ "$name" != "$victim" ] || break
  done
  [ "$name" = "$victim" ] || fail "rank $victim is not to be found after $try tries"
  kill -KILL "$pid"
  rc=0
  wait "$job" || rc=$?
  job=
  [ "$rc" -eq 137 ] || fail "exit code $rc, not that of the killed rank"
  cmp words.model earlier.model || fail "the earlier model is not whole any more"
}

# The launcher ends the others when it sees that one was killed.
killed_rank() {
  kill_rank 5
  run 8 4
  expect_success
}

# The others are left to themselves: lockstep ends them, one tells who was lost, all tidy up.
killed_rank_alone() {
  kill_rank 3 --keep-going
  [ "$(grep -c '^ngram: rank ' run.log)" -eq 1 ] || fail "the loss is not told once"
  grep -q '^ngram: rank 0 .*rank 3\b' run.log || fail "rank 3 is not named"
  expect_no_leftovers
}

killed_main_alone() {
  kill_rank 0 --keep-going
  grep -q '^ngram: rank .*rank 0\b' run.log || fail "rank 0 is not named"
  # What rank 0 has left is swept away by a later run, when it is clear that nobody owns it.
  [ -e cache/run-* ] || fail "the test does not test: rank 0 has left nothing"
  touch -d '10 minutes ago' cache/run-* node/lockstep-ngram-*
  run 8 4
  expect_success
  expect_no_leftovers
}

# start ARGS...: a slow job in the background, that SIGUSR1 stops.
start() {
  : >run.log
  LOCKSTEP_SIGNALS=USR1 timeout -k 5 100 "$lockstep" run -n 5 --nodes 3 "$ngram" --cache cache \
    --node-cache node --output words.model --steps 100 "$@" >run.log 2>&1 &
  job=$!
}
# signal PATTERN: to one rank, as soon as that is in the log.
signal() {
  local pid='' one try
  for try in $(seq 600); do
    if grep -qE -- "$1" run.log; then break; fi
    kill -0 "$job" 2>/dev/null || fail "the job ended before the signal"
    sleep 0.05
  done
  for one in $(pgrep -x ngram); do
    [ "$(readlink "/proc/$one/cwd")" != "$here" ] || pid=$one
  done
  kill -USR1 "$pid" || fail "no rank is there after $try tries"
}
ended() {
  rc=0
  wait "$job" || rc=$?
  job=
  expect_success
  expect_no_leftovers
}

# Interrupted twice, wherever: the model of the run that goes on is that of an undisturbed one, and
# so is the step at which it stops.
goes_on() {
  local options time
  for options in "--min-gain 0.3 --patience 5" --no-trigger; do
    # shellcheck disable=SC2086 # options
    run 5 3 --steps 100 $options
    expect_success
    mv words.model reference.model
    grep -E '^all (stopped|have done)' run.log >reference.end
    [ "$options" = --no-trigger ] || grep -qE 'step [3-8][0-9] of' reference.end ||
      fail "the reference stops too early or too late for this test"
    for time in 1 2; do
      # shellcheck disable=SC2086 # options
      start $options --checkpoint state --pause 20
      signal "^ *${time}[0-9]/100"
      ended
      grep -qE "^all stopped at step [0-9]+ of 100: SIGUSR1" run.log || fail "it did not stop"
      grep -qE '^checkpoint  .*/state$' run.log || fail "it does not name the checkpoint"
      [ -s state ] && [ ! -e words.model ] || fail "not the files of an interrupted run"
    done
    [ "$options" = --no-trigger ] || bad_checkpoints
    # shellcheck disable=SC2086 # options
    run 5 3 --steps 100 $options --checkpoint state
    expect_success
    grep -qE '^  goes on       after step [0-9]+, from state$' run.log || fail "it did not go on"
    cmp words.model reference.model || fail "another model after an interruption"
    grep -E '^all (stopped|have done)' run.log | cmp - reference.end || fail "another last step"
    [ ! -e state ] || fail "the checkpoint of a run that is over is still there"
    rm words.model
  done
}

# Those of another run, or damaged ones, are refused and stay.
bad_checkpoints() {
  local good="--steps 100 --min-gain 0.3 --patience 5 --checkpoint state"
  # shellcheck disable=SC2086 # options
  {
    run 4 2 $good; expect_failure 'state was made by 5 ranks, and these are 4;'
    run 5 3 $good --seed 2; expect_failure 'state was made by another run'
    run 5 3 $good --order 4; expect_failure 'state was made by another run'
    cp state whole
    printf 'X' | dd of=state bs=1 seek=5000 conv=notrunc status=none
    run 5 3 $good; expect_failure 'state is damaged: its hash is'
    : >state
    run 5 3 $good; expect_failure 'state is damaged: it has only 0 bytes'
    mv whole state
  }
}

# A signal at any time is a wish to stop and no failure, also while the data is being prepared.
signal_at_once() {
  start --pause 20
  signal '^ngram: '
  ended
  grep -qE '^all stopped at step [0-9]+ of 100: SIGUSR1' run.log || fail "it did not stop"
  grep -qE 'the same on all 5 ranks' run.log || fail "it has not saved what it had"
}

hello_c() {
  timeout -k 5 60 "$lockstep" run -n 8 --nodes 4 "$hello_c" >run.log 2>&1 || fail "exit code $?"
  local rank node
  for rank in 0 1 2 3 4 5 6 7; do
    node=$((rank / 2))
    echo "hello from rank $rank of 8, process $((rank % 2)) of 2 on node $node (n$node)"
  done >wanted
  echo "everybody was here" >>wanted
  cmp wanted run.log || fail "the greetings differ"
}

"$case_name"
echo "passed: $case_name"
