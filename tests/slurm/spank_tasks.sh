# Cases of spank_test.sh: the key of a step, and the page with its tasks' exits.
# shellcheck shell=bash disable=SC2154,SC2016 # variables of spank_test.sh; scripts for tasks

# Slurm starts tasks as the user; here that is not root.
as_nobody=(setpriv "--reuid=$(id -u nobody)" "--regid=$(id -g nobody)" --clear-groups)

# keys_of FILE COUNT: so many tasks have said their key, and it is one: sets key.
keys_of() {
  [ "$(grep -cE 'key [0-9a-f]{64}$' "$1" || true)" -eq "$2" ] || fail "not $2 tasks have a key"
  [ "$(grep -oE '[0-9a-f]{64}$' "$1" | sort -u | wc -l)" -eq 1 ] || fail "not one key"
  key=$(grep -oE '[0-9a-f]{64}$' "$1" | sort -u)
}

key_of_each_step() {
  local step key all=()
  for step in "3 -N3" "7 -N3" "4 -N1" "2 -N2 --export=NONE" "1 -N1"; do
    # shellcheck disable=SC2086 # a number and options
    run srun -n $step "$task" key
    expect_status 0
    keys_of run.log "${step%% *}"
    all+=("$key")
  done
  run srun -N1 -n2 "$task" key : -N2 -n3 "$task" key
  keys_of run.log 5
  all+=("$key")
  # At once in one allocation, and a step that a task starts.
  run salloc -Q -N2 -n2 bash -c '
    srun --overlap "$0" key >first & srun --overlap "$0" key >second
    wait $!
    srun -n1 bash -c "\$0 key; srun --overlap -n2 \$0 key >inner" "$0" >outer' "$task"
  expect_status 0
  for step in "first 2" "second 2" "outer 1" "inner 2"; do
    # shellcheck disable=SC2086 # two words
    keys_of $step
    all+=("$key")
  done
  [ "$(printf '%s\n' "${all[@]}" | sort -u | wc -l)" -eq "${#all[@]}" ] ||
    fail "two steps have the same key: ${all[*]}"
}

no_key() {
  run srun -N2 -n2 --lockstep-key=none "$task" key
  expect_lines 2 '^no key$'
  run srun -N1 --lockstep-key=mine touch started
  [ "$rc" -ne 0 ] || fail "--lockstep-key=mine is no error"
  [ ! -e started ] || fail "something was started"
  expect_lines 1 'error: lockstep: --lockstep-key=mine: expected none; for example'
  # Neither a script nor a shell is a step of srun's; the number of another step's is not theirs.
  run salloc -Q -N1 env LOCKSTEP_KEY_FD=5 bash -c '"$0" key' "$task"
  expect_lines 1 'broken: seals'
  run env LOCKSTEP_KEY_FD=77 LOCKSTEP_EXIT_PAGE_FD=78 sbatch -N1 -o batch.log \
    --wrap "$task key; env; echo the end"
  wait_for_text batch.log 'the end'
  grep -qx 'no key' batch.log || fail "a batch script has a key"
  ! grep -q 'LOCKSTEP_.*_FD' batch.log || fail "a batch script has descriptors"
  echo "optional $plugin key=no exit_page=no" >"$stack"
  run env LOCKSTEP_KEY_FD=77 LOCKSTEP_EXIT_PAGE_FD=78 srun -N2 -n2 env
  expect_status 0
  expect_lines 0 'LOCKSTEP_.*_FD'
}

# holders NODE TEXT: the kinds of places in the node where the text is, or the bytes that it is in
# hexadecimal: command lines, environments, files that Slurm has written.
holders() {
  "$testbed" exec "$1" bash -c '
    as_text=$(printf %s "$0" | od -An -v -tx1 | tr -d " \n")
    for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ $(find /run -xdev -type f) \
        $(find /run/testbed /run/slurmd /run/slurmctld -type f 2>/dev/null); do
      # This shell itself has it as an argument.
      case $file in /proc/$$/*) continue ;; esac
      bytes=$(od -An -v -tx1 "$file" 2>/dev/null | tr -d " \n") || true
      case $bytes in *"$0"* | *"$as_text"*) echo "$file" ;; esac
    done' "$2"
}

memory_of() { # NODE: processes that hold memory of ours
  "$testbed" exec "$1" bash -c 'ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c "memfd:lockstep-" || true'
}

key_is_hidden() {
  local key node job pid number
  chmod 755 .
  printf '#!/bin/bash\nenv >%s/prolog.$SLURMD_NODENAME\n' "$here" >prolog.sh
  chmod 755 prolog.sh
  cp "$LOCKSTEP_TESTBED_DIR/slurm.conf" conf
  echo "Prolog=$here/prolog.sh" >>"$LOCKSTEP_TESTBED_DIR/slurm.conf"
  on_ctl scontrol reconfigure
  on_ctl "${as_nobody[@]}" srun -vvv -N3 -n3 bash -c '
    "$0" key
    echo "process $SLURM_NODEID $BASHPID $LOCKSTEP_KEY_FD"
    while [ ! -e go ]; do sleep 0.05; done' "$task" >run.log 2>&1 &
  job=$!
  for node in 0 1 2; do wait_for_text run.log "process $node "; done
  keys_of run.log 3
  for node in ctl n0 n1 n2; do
    [ -z "$(holders "$node" "$key")" ] || fail "the key is on $node in $(holders "$node" "$key")"
  done
  # That search finds it where it is.
  "$testbed" exec n1 env "LOOK=$key" sleep 60 &
  pid=$!
  for node in $(seq 50); do
    [ -z "$(holders n1 "$key")" ] || break
    sleep 0.1
  done
  [ -n "$(holders n1 "$key")" ] || fail "the search does not find a key in an environment"
  kill "$pid"
  wait "$pid" || true

  # Who may open the task's descriptor: its user, and nobody else but root.
  read -r _ _ pid number <<<"$(grep '^process 0 ' run.log)"
  [ "$("$testbed" exec n0 "${as_nobody[@]}" od -An -v -tx1 -N32 "/proc/$pid/fd/$number" |
    tr -d ' \n')" = "$key" ] || fail "its own user cannot read it, so the next lines prove nothing"
  for file in "fd/$number" environ; do
    ! "$testbed" exec n0 setpriv --reuid=1 --regid=1 --clear-groups \
      cat "/proc/$pid/$file" >stolen 2>&1 || fail "another user reads /proc/PID/$file"
  done
  [ "$(memory_of n0)" -gt 0 ] || fail "no process holds the memory"
  [ "$(memory_of ctl)" -eq 0 ] || fail "srun holds memory"
  touch go
  wait "$job" || fail "the job failed"
  cat conf >"$LOCKSTEP_TESTBED_DIR/slurm.conf"
  on_ctl scontrol reconfigure

  for node in 0 1 2; do
    [ -s prolog.n$node ] || fail "no prolog on n$node"
    [ "$(memory_of n$node)" -eq 0 ] || fail "memory is left on n$node"
  done
  ! grep -qiE 'lockstep.key' prolog.n? || fail "prolog: $(grep -hi lockstep prolog.n?)"
  for node in ctl n0 n1 n2; do
    [ -z "$(holders "$node" "$key")" ] || fail "the key is left on $node"
  done
  [ "$(grep -c "$key" run.log)" -eq 3 ] || fail "srun -vvv shows it"
}

sealed() {
  chmod 755 .
  run srun -N2 -n5 "$task" sealed
  expect_status 0
  expect_lines 5 '^sealed$'
  run "${as_nobody[@]}" srun --mpi=pmix -N2 -n5 "$task" sealed
  expect_status 0
  expect_lines 5 '^sealed$'
}

# On each of two nodes: one exits with 3, one is killed, one runs until it is told not to.
exits_are_seen() {
  run srun --kill-on-bad-exit=0 -N2 -n8 bash -c '
    case $SLURM_LOCALID in
      1) exec "$0" be 3 ;;
      2) exec "$0" be SIG9 ;;
      3) while [ ! -e "go-$HOSTNAME" ]; do sleep 0.05; done; exit 0 ;;
    esac
    "$0" watch 1 2 && "$0" watch 2 2 && "$0" watch 3 1 || exit 9
    touch "go-$HOSTNAME"
    "$0" watch 3 2' "$task"
  [ "$rc" -ne 0 ] || fail "two tasks of each node failed, but not srun"
  local node first
  for node in 0 1; do
    first=$((4 * node))
    expect_lines 1 "^n[0-2] line 1 of 4: rank $((first + 1)) exited 3 pid [0-9]+\$"
    expect_lines 1 "^n[0-2] line 2 of 4: rank $((first + 2)) killed by 9 pid [0-9]+\$"
    expect_lines 1 "^n[0-2] line 3 of 4: rank $((first + 3)) running pid [0-9]+\$"
    expect_lines 1 "^n[0-2] line 3 of 4: rank $((first + 3)) exited 0 pid [0-9]+\$"
  done
  expect_lines 0 broken
}

# A program that cannot be started is an end too, and core files do not change the signal.
odd_exits() {
  printf '0 %s watch 1 2\n1 /nowhere\n2 %s be SIG11\n3 %s watch 2 2\n' "$task" "$task" "$task" >mpmd
  run srun --kill-on-bad-exit=0 -N1 -n4 --multi-prog mpmd
  expect_lines 1 'line 1 of 4: rank 1 exited [1-9][0-9]* pid [0-9]+$'
  expect_lines 1 'line 2 of 4: rank 2 killed by 11 pid [0-9]+$'
}

# As many lines as the node has tasks; each task looks at its own by itself (spank_task.c).
pages_of_uneven_nodes() {
  run srun -N3 -n7 -l "$task" page
  expect_status 0
  expect_lines 9 'line [0-2] of 3'
  expect_lines 8 'line [0-1] of 2'
  expect_lines 3 'line 2 of 3: rank 2 '
  expect_lines 2 'line 1 of 2: rank 6 '
  run srun -N1 -n1 "$task" page
  expect_lines 1 'line 0 of 1: rank 0 running'
}

# Ranks go on through the parts, as they do in PMIx; a page is of one part.
pages_of_parts() {
  local script='touch "seen.$SLURM_PROCID"
    until [ "$(ls seen.* | wc -l)" -eq 5 ]; do sleep 0.05; done'
  run srun -N1 -n2 bash -c '"$0" watch 0 1 && "$0" watch 1 1'"; $script" "$task" : \
    -N2 -n3 bash -c '"$0" watch 0 1'"; $script" "$task"
  expect_status 0
  expect_lines 2 'line 0 of 2: rank 0 running'
  expect_lines 2 'line 1 of 2: rank 1 running'
  expect_lines 2 'line 0 of 2: rank 2 running'
  expect_lines 1 'line 0 of 1: rank 4 running'
}

# Tasks, slurmstepd and srun go on while the daemons are made anew.
daemons_restart() {
  local job rank
  on_ctl srun --kill-on-bad-exit=0 -N2 -w n1,n2 -n4 bash -c '
    echo "is there $SLURM_PROCID"
    while [ ! -e go ]; do sleep 0.05; done
    if [ "$SLURM_LOCALID" = 1 ]; then exec "$0" be 3; fi
    exec "$0" watch 1 2' "$task" >run.log 2>&1 &
  job=$!
  for rank in 0 1 2 3; do wait_for_text run.log "is there $rank"; done
  "$testbed" hurt n1 stop
  "$testbed" hurt n1 heal
  on_ctl scontrol shutdown slurmctld
  for rank in $(seq 100); do
    on_ctl pgrep -x slurmctld >/dev/null || break
    sleep 0.1
  done
  on_ctl slurmctld >slurmctld.log 2>&1
  touch go
  rc=0
  wait "$job" || rc=$?
  expect_status 3
  expect_lines 1 'line 1 of 2: rank 1 exited 3'
  expect_lines 1 'line 1 of 2: rank 3 exited 3'
  for rank in $(seq 100); do
    ! "$testbed" status >status.log || break
    sleep 0.1
  done
  "$testbed" status >status.log || fail "the testbed is not well"
  run srun -N3 -n3 "$task" sealed
  expect_lines 3 sealed
}

# in_run_of NODE...: the plugin lies there, in a folder that each node has for itself.
in_run_of() {
  local node
  for node in ctl n0 n1 n2; do
    "$testbed" exec "$node" rm -rf /run/lockstep-test
    [[ " $* " == *" $node "* ]] || continue
    "$testbed" exec "$node" mkdir /run/lockstep-test
    "$testbed" exec "$node" cp "$plugin" /run/lockstep-test/plugin.so
  done
  echo "optional /run/lockstep-test/plugin.so report=44s" >"$stack"
}

not_everywhere() {
  in_run_of ctl
  run env LOCKSTEP_KEY_FD=77 LOCKSTEP_EXIT_PAGE_FD=78 srun -N2 -n2 env
  expect_status 0
  expect_lines 0 'LOCKSTEP_(KEY|EXIT|REPORT)'
  in_run_of n0 n1 n2
  run srun -N3 -n3 -l bash -c 'env; "$0" page; "$0" key' "$task"
  expect_status 0
  all_tasks 3 LOCKSTEP_REPORT 44s
  expect_lines 3 'no key$'
  expect_lines 3 'line 0 of 1: rank [0-2] running'
  in_run_of ctl n0
  run srun -N2 -n2 -w n0,n1 --lockstep-timeout=7min -l \
    bash -c 'printenv LOCKSTEP_TIMEOUT; "$0" key' "$task"
  expect_status 0
  expect_lines 1 '^0: 7min$'
  expect_lines 1 '^0: key '
  expect_lines 1 '^1: no key'
  in_run_of
}

# A job of lockstep passes the tests of the whole interface, and takes nothing for a typing error.
lockstep_job() {
  run srun --mpi=pmix -N2 -n4 --lockstep-report=9s "$api_job"
  expect_status 0
  passed_once run.log
  expect_lines 0 'not a setting'
}

# Everybody is told how the lost rank ended, by a verdict that Slurm's daemon has helped to.
verdicts_tell_exits() {
  run srun --mpi=pmix --kill-on-bad-exit=0 -N2 -n6 "$fault_job" die 1
  expect_lines 5 '^rank [02-5]: lost missing 1: .*rank 1 on n0 \(rank 1 was killed by SIGKILL\)$'
  run srun --mpi=pmix --kill-on-bad-exit=0 -N1 -n3 "$fault_job" die_first
  expect_lines 2 '^rank [12]: lost missing 0: .*section ended: rank 0 was killed by SIGKILL$'
  # Ranks that do not see each other's processes have to wait for the deadline otherwise. (A signal
  # from itself does not end the first process of a namespace; so that is a shell.)
  # shellcheck disable=SC2016 # for that shell
  run srun --mpi=pmix --kill-on-bad-exit=0 -N2 -n6 unshare --pid --fork --kill-child \
    sh -c '"$0" die 1; exit $?' "$fault_job"
  expect_lines 5 '^rank [02-5]: lost missing 1: .*rank 1 on n0 \(rank 1 exited with 137\)$'
}

# Without the plugin the library says itself what it can know of; with it srun has said everything.
advice_without_plugin() {
  cp "$LOCKSTEP_TESTBED_DIR/slurm.conf" conf
  printf 'KillOnBadExit=1\nWaitTime=60\n' >>"$LOCKSTEP_TESTBED_DIR/slurm.conf"
  on_ctl scontrol reconfigure
  local job=(env LOCKSTEP_FAULT_TOLERANCE=yes srun --mpi=pmix -N2 -n4 "$fault_job" slow 1)
  : >"$stack"
  run "${job[@]}"
  mv run.log without.log
  echo "$usual" >"$stack"
  run "${job[@]}"
  cat conf >"$LOCKSTEP_TESTBED_DIR/slurm.conf"
  on_ctl scontrol reconfigure
  expect_status 0
  expect_lines 2 '^lockstep: fault tolerance: by .* in slurm.conf '
  expect_lines 0 'LOCKSTEP_FAULT_TOLERANCE: '
  mv without.log run.log
  expect_lines 0 '^lockstep: fault tolerance: '
  expect_lines 1 'LOCKSTEP_FAULT_TOLERANCE: by KillOnBadExit in slurm.conf .* --kill-on-bad-exit=0$'
  expect_lines 1 'LOCKSTEP_FAULT_TOLERANCE: by WaitTime in slurm.conf .*; type: srun --wait=0$'
}

# What the plugin gives, as `lockstep info` sees it; with no key the row says that.
capabilities() {
  run srun --mpi=pmix -N2 -n4 --lockstep-fault-tolerance "$lockstep" info
  expect_status 0
  expect_lines 4 '^   fault tolerance +present '
  expect_lines 4 '^   exits of others +present '
  expect_lines 4 '^   key of the step +present '
  run srun --mpi=pmix -N2 -n4 --lockstep-key=none "$lockstep" info
  expect_lines 4 '^   exits of others +present '
  expect_lines 4 '^   key of the step +absent +srun has no plugin of lockstep, or was told '
}

# Twice in the plugstack: one key and one page, not two of each.
twice_is_once() {
  local second
  mkdir copies
  cp "$plugin" copies/
  for second in "$plugin" "$here/copies/${plugin##*/}"; do
    printf 'optional %s\noptional %s\n' "$plugin" "$second" >"$stack"
    run srun -N2 -n2 bash -c 'ls -l /proc/self/fd | grep -c memfd:lockstep-; "$0" sealed' "$task"
    expect_status 0
    expect_lines 2 '^2$'
    expect_lines 2 '^sealed$'
    expect_lines 0 'error'
  done
}
