# Cases of spank_test.sh: options, variables, defaults, and who wins.
# shellcheck shell=bash disable=SC2154,SC2016 # variables of spank_test.sh; scripts for tasks

help_texts() {
  local command option
  for command in srun sbatch salloc; do
    COLUMNS=200 run "$command" --help
    expect_status 0
    for option in report=TIME timeout=TIME stop-before-end=TIME fault-tolerance; do
      grep -A1 -e "--lockstep-$option" run.log | grep -F '[lockstep] ' >/dev/null ||
        fail "$command --help does not show --lockstep-$option"
    done
    if [ "$command" = srun ]; then
      expect_lines 1 '--lockstep-key=none .*\[lockstep\]'
    else
      expect_lines 0 '--lockstep-key' # a key is of a step
    fi
  done
}

# all_tasks COUNT VARIABLE VALUE: so many tasks said so, and no task said another value.
all_tasks() {
  expect_lines "$1" "^[0-9]+: $2=$3\$"
  expect_lines "$1" "^[0-9]+: $2="
}

options_reach_tasks() {
  run srun -N3 -n5 -l --lockstep-report=1500ms --lockstep-timeout=2.5min \
    --lockstep-stop-before-end=1h --lockstep-fault-tolerance --no-kill env
  expect_status 0
  all_tasks 5 LOCKSTEP_REPORT 1500ms
  all_tasks 5 LOCKSTEP_TIMEOUT 2.5min
  all_tasks 5 LOCKSTEP_STOP_BEFORE_END 1h
  all_tasks 5 LOCKSTEP_FAULT_TOLERANCE yes
  # Whatever carried them there is nobody's business.
  expect_lines 0 'SPANK'
  run srun -N3 -n3 -l --export=NONE --lockstep-report=3s /usr/bin/env
  all_tasks 3 LOCKSTEP_REPORT 3s
  # What one part of a step is given is for all of it; a part's later one counts.
  run srun -Q -l -N1 --lockstep-report=5s env : -N1 --lockstep-report=6s --lockstep-timeout=3h env
  expect_status 0
  all_tasks 2 LOCKSTEP_REPORT 6s
  all_tasks 2 LOCKSTEP_TIMEOUT 3h
}

unused_changes_nothing() {
  # on_ctl gives LOCKSTEP_TIMEOUT; plugstack.conf of this testbed has report=44s.
  echo "optional $plugin" >"$stack"
  run srun -N2 -n2 -l env
  expect_status 0
  expect_lines 2 'LOCKSTEP_TIMEOUT=60s$'
  expect_lines 2 'LOCKSTEP_KEY_FD=[0-9]+$'
  expect_lines 2 'LOCKSTEP_EXIT_PAGE_FD=[0-9]+$'
  expect_lines 6 'LOCKSTEP_'
  expect_lines 0 'SPANK'
  expect_lines 0 '^lockstep:'
}

precedence() {
  run srun -N2 -n2 -l env
  all_tasks 2 LOCKSTEP_REPORT 44s
  run env LOCKSTEP_REPORT=5s srun -N2 -n2 -l env
  all_tasks 2 LOCKSTEP_REPORT 5s
  run env LOCKSTEP_REPORT=5s srun -N2 -n2 -l --lockstep-report=6s env
  all_tasks 2 LOCKSTEP_REPORT 6s
  run srun -N2 -n2 -l --lockstep-report=6s env
  all_tasks 2 LOCKSTEP_REPORT 6s
  echo "optional $plugin timeout=4h stop_before_end=5min fault_tolerance=yes" >"$stack"
  run env -u LOCKSTEP_TIMEOUT srun -N2 -n2 -l env
  all_tasks 2 LOCKSTEP_TIMEOUT 4h
  all_tasks 2 LOCKSTEP_STOP_BEFORE_END 5min
  all_tasks 2 LOCKSTEP_FAULT_TOLERANCE yes
  run env LOCKSTEP_FAULT_TOLERANCE=no srun -N2 -n2 -l env
  all_tasks 2 LOCKSTEP_FAULT_TOLERANCE no
}

# What is given to an allocation is for the sruns in it, as is its environment: theirs win.
inner_script='
  srun -Q -l /usr/bin/env | sed "s/^/plain /"
  LOCKSTEP_REPORT=8s srun -Q -l /usr/bin/env | sed "s/^/variable /"
  LOCKSTEP_REPORT=8s srun -Q -l --lockstep-report=9s /usr/bin/env | sed "s/^/option /"'

expect_inner() { # FILE NAME COUNT VALUE
  [ "$(grep -cE "^$2 [01]: LOCKSTEP_REPORT=$4\$" "$1" || true)" -eq "$3" ] ||
    fail "not $3 tasks of the $2 srun have LOCKSTEP_REPORT=$4"
}

salloc_for_sruns_inside() {
  run salloc -Q -N2 -n2 --lockstep-report=7s bash -c "$inner_script"
  expect_status 0
  expect_inner run.log plain 2 7s
  expect_inner run.log variable 2 8s
  expect_inner run.log option 2 9s
}

wait_for_text() { # FILE TEXT
  local try
  for try in $(seq 600); do
    ! grep -qsF "$2" "$1" || return 0
    sleep 0.1
  done
  fail "nobody wrote '$2' to $1 (try $try)"
}

batch() { # OPTIONS...
  printf '#!/bin/bash\n%s\n%s\necho the end\n' 'echo "script $LOCKSTEP_REPORT"' "$inner_script" \
    >script.sh
  rm -f batch.log
  run sbatch -N2 -n2 -o batch.log "$@" script.sh
  expect_status 0
  wait_for_text batch.log 'the end'
  cp batch.log batch-of-case.log
}

sbatch_for_sruns_inside() {
  batch --lockstep-report=7s
  expect_inner batch.log plain 2 7s
  expect_inner batch.log variable 2 8s
  expect_inner batch.log option 2 9s
  grep -qx 'script 7s' batch.log || fail "the script itself does not see it"
  # With --export=NONE Slurm gives sruns inside the same, so variables of the script end there.
  batch --export=NONE --lockstep-report=7s
  expect_inner batch.log plain 2 7s
  grep -qx 'script 7s' batch.log || fail "the script itself does not see it"
  expect_inner batch.log variable 2 44s
  expect_inner batch.log option 2 9s
  batch
  expect_inner batch.log plain 2 44s
  grep -qx 'script ' batch.log || fail "the default is for tasks, not for the script"
}

# refused TEXT COMMAND...: it says so in one line with an example, and nothing was started.
refused() {
  local pattern=${1//[+.]/.} # as it stands, not as a pattern
  shift
  rm -f started
  run "$@"
  [ "$rc" -ne 0 ] || fail "exit status 0: $*"
  expect_lines 1 "error: lockstep: $pattern: expected a number and ms, s, min or h, or never; for example .*=[0-9]+(s|min)\$"
  [ ! -e started ] || fail "something was started: $*"
  [ -z "$(jobs_left)" ] || fail "a job was made: $*"
}

bad_values() {
  local option value
  # What shows that nothing was started shows it when something is.
  run srun -N1 touch started
  [ -e started ] || fail "the file that would show a start does not"
  for option in report timeout stop-before-end; do
    for value in 10 abc 5sec -1s +1s '' 0x10s ' 5s' 1e999h 1.2.3s 1m nans; do
      refused "--lockstep-$option=$value" srun -N2 "--lockstep-$option=$value" touch started
    done
    refused "--lockstep-$option=x" sbatch "--lockstep-$option=x" --wrap "touch $here/started"
    refused "--lockstep-$option=x" salloc -Q "--lockstep-$option=x" touch started
  done
  for option in LOCKSTEP_REPORT LOCKSTEP_TIMEOUT LOCKSTEP_STOP_BEFORE_END; do
    refused "$option=soon" env "$option=soon" srun -N2 touch started
    refused "$option=soon" env "$option=soon" sbatch --wrap "touch $here/started"
    refused "$option=soon" env "$option=soon" salloc -Q touch started
  done
  run srun -N1 --lockstep-fault-tolerance=yes touch started
  [ "$rc" -ne 0 ] || fail "--lockstep-fault-tolerance takes a value"
  # What the library understands is understood here.
  for value in 10s .5s 1.5h 1e3ms 0s never 100us 7ns; do
    run env "LOCKSTEP_REPORT=$value" srun -N1 -n1 -l env
    expect_status 0
    all_tasks 1 LOCKSTEP_REPORT "$value"
    run srun -N1 -n1 -l "--lockstep-report=$value" env
    all_tasks 1 LOCKSTEP_REPORT "$value"
  done
}

bad_arguments() {
  echo "optional $plugin report=soon timeout=4h nonsense=1 fault_tolerance=maybe" >"$stack"
  run env -u LOCKSTEP_TIMEOUT srun -N1 -n1 -l env
  expect_status 0
  expect_lines 1 'srun: error: lockstep: report=soon in plugstack.conf: expected a number and'
  expect_lines 1 'srun: error: lockstep: nonsense=1 in plugstack.conf is no argument'
  expect_lines 1 'srun: error: lockstep: fault_tolerance=maybe in plugstack.conf: expected yes or no'
  all_tasks 1 LOCKSTEP_TIMEOUT 4h
  expect_lines 0 'LOCKSTEP_REPORT='
}

# said KILL WAIT NODE COMMAND...: how often it was said that a bad exit, the first end, a lost node
# end the step.
said() {
  local kill=$1 wait=$2 node=$3 text='^lockstep: fault tolerance: '
  shift 3
  run "$@"
  expect_status 0
  expect_lines "$kill" "$text.* one rank fails; type: srun --kill-on-bad-exit=0\$"
  expect_lines "$wait" "$text.* after its first rank ends; type: srun --wait=0\$"
  expect_lines "$node" "$text.* when a node fails; type: srun --no-kill"
  expect_lines $((kill + wait + node)) '^lockstep: '
}

fault_tolerance_advice() {
  local ft=--lockstep-fault-tolerance
  said 0 0 0 srun -N2 true
  said 0 0 1 srun -N2 $ft true
  said 0 0 1 env LOCKSTEP_FAULT_TOLERANCE=yes srun -N2 true
  said 0 0 0 env LOCKSTEP_FAULT_TOLERANCE=no srun -N2 true
  said 0 0 0 srun -N2 $ft --no-kill true
  said 0 0 0 srun -N2 -k $ft true
  said 0 0 1 srun -N2 $ft --no-kill=off true
  said 0 0 1 env SLURM_NO_KILL=set srun -N2 $ft --no-kill=off true
  said 0 0 0 srun -N2 $ft --no-kill=set true
  said 0 0 1 env SLURM_NO_KILL=off srun -N2 $ft true
  said 0 0 0 env SLURM_NO_KILL=set srun -N2 $ft true
  said 1 0 0 srun -N2 $ft -k --kill-on-bad-exit true
  said 1 0 0 srun -N2 $ft -k -K1 true
  said 1 0 0 env SLURM_KILL_BAD_EXIT=1 srun -N2 $ft -k true
  expect_lines 1 'by SLURM_KILL_BAD_EXIT the step'
  said 0 0 0 env SLURM_KILL_BAD_EXIT=1 srun -N2 $ft -k --kill-on-bad-exit=0 true
  said 0 1 0 srun -N2 $ft -k --wait=30 true
  said 0 1 0 srun -N2 $ft -k -W 30 true
  said 0 1 0 srun -N2 $ft -k -W30 true
  said 0 1 0 env SLURM_WAIT=9 srun -N2 $ft -k true
  said 0 0 0 env SLURM_WAIT=9 srun -N2 $ft -k --wait 0 true
  said 1 0 1 env SLURM_KILL_BAD_EXIT=1 srun $ft -N1 true : -N1 true # once for both parts
  # And by slurm.conf; slurmctld says what it has read.
  cp "$LOCKSTEP_TESTBED_DIR/slurm.conf" conf
  printf 'KillOnBadExit=1\nWaitTime=60\n' >>"$LOCKSTEP_TESTBED_DIR/slurm.conf"
  on_ctl scontrol reconfigure
  run srun -N2 $ft -k true
  cat conf >"$LOCKSTEP_TESTBED_DIR/slurm.conf"
  on_ctl scontrol reconfigure
  expect_lines 1 ' by KillOnBadExit in slurm.conf the .*; type: srun --kill-on-bad-exit=0$'
  expect_lines 1 ' by WaitTime in slurm.conf the .*; type: srun --wait=0$'
  said 0 0 0 srun -N2 $ft -k true
}

absent() {
  echo "optional $here/nowhere.so" >"$stack"
  run srun -N2 -n2 -l env
  expect_status 0
  expect_lines 2 'LOCKSTEP_TIMEOUT=60s$'
  run srun -N2 --lockstep-report=5s true
  [ "$rc" -ne 0 ] || fail "without the plugin there is its option"
}

twice() {
  local second
  mkdir copies
  cp "$plugin" copies/
  for second in "$plugin" "$here/copies/${plugin##*/}"; do
    printf 'optional %s report=44s\noptional %s report=55s\n' "$plugin" "$second" >"$stack"
    run srun -N2 -n2 -l env
    expect_status 0
    all_tasks 2 LOCKSTEP_REPORT 44s
    expect_lines 0 'error|SPANK'
    run srun -N2 -n2 -l --lockstep-report=5s env
    all_tasks 2 LOCKSTEP_REPORT 5s
    COLUMNS=200 run srun --help
    expect_lines 1 '--lockstep-report'
    expect_lines 0 'provided by both'
  done
}
