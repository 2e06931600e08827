#!/bin/bash
# Scripts whose commands defer execution, on ranks of emulated nodes. A job is a script that all ranks
# run; what they saw is proven by files and what they printed, never by time.
# Usage: shell_test.sh CASE LOCKSTEP RANKS NODES API_JOB
set -euo pipefail
case_name=$1 lockstep=$2 ranks=$3 nodes=$4 api_job=$5
PATH=$(dirname "$lockstep"):$PATH
here=$(mktemp -d)
chmod 755 "$here"
cd "$here"
trap 'cd / && rm -rf "$here"' EXIT
export LOCKSTEP_TIMEOUT=60s here api_job ranks nodes

fail() {
  echo "FAILED: $*"
  tail -n 60 run.log
  exit 1
}

# job: all ranks run the script on standard input; its output goes to
# run.log, its exit status to rc. $r is the rank.
job() {
  { echo 'set -u; r=$PMIX_RANK'; cat; } >script.sh
  rc=0
  timeout -k 5 120 "$lockstep" run -n "$ranks" --nodes "$nodes" --keep-going bash script.sh \
    >run.log 2>&1 </dev/null || rc=$?
  [ "$rc" -ne 124 ] || fail "did not end"
  nothing_is_left
}

# Whatever happened. Agents have the script's environment.
nothing_is_left() {
  local try pid
  for try in $(seq 100); do
    pid=
    for pid in $(grep -lzx "here=$here" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
      [ "$pid" = $$ ] || [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != lockstep ] || break
      pid=
    done
    [ -n "$pid" ] || return 0
    sleep 0.1
  done
  fail "process $pid is left (try $try): $(tr '\0' ' ' <"/proc/$pid/cmdline")"
}

passed() { [ "$rc" -eq 0 ] || fail "exit status $rc"; }

# lines COUNT PATTERN
lines() {
  local count
  count=$(grep -cE -- "$2" run.log || true)
  [ "$count" -eq "$1" ] || fail "$count lines and not $1 are like: $2"
}

# What scripts use.
cat >helpers.sh <<'HELPERS'
# The agent of this task: the only one with this rank's identity.
agent() {
  local pid
  for pid in $(grep -lzx "PMIX_NAMESPACE=$PMIX_NAMESPACE" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
    if cat "/proc/$pid/cmdline" 2>/dev/null | tr "\0" " " | grep -q '^lockstep shell-agent' &&
      grep -qzx "PMIX_RANK=${1:-$PMIX_RANK}" "/proc/$pid/environ"; then echo "$pid"; fi
  done
}
wait_for() { until [ -e "$1" ]; do sleep 0.02; done; }
# Until this rank is seen to wait in the call of that name.
waits() { until lockstep status $PMIX_NAMESPACE --all 2>/dev/null | grep -qE "^ +$PMIX_RANK  .*waits.*'$1'"; do sleep 0.02; done; }
HELPERS

# Nobody passes before all have come, a hundred times; the first and the last call are seen as well.
barrier() {
  job <<'SCRIPT'
for i in $(seq 100); do
  touch $here/$i.$r
  lockstep barrier --name loop || exit 1
  [ $(ls $here/$i.* | wc -l) -eq $ranks ] || exit 2
done
lockstep barrier --scope node --timeout 30s
SCRIPT
  passed
}

# The first is alone, and the others find what it has made.
first() {
  job <<'SCRIPT'
cat >$here/make.$r <<'MAKE'
if [ $PMIX_RANK = 0 ]; then
  sleep 0.2
  [ -z "$(ls $here/other.* 2>/dev/null)" ] && echo made >$here/data
else
  touch $here/other.$PMIX_RANK
fi
[ "$(cat $here/data)" = made ] && echo "ran $PMIX_RANK $1"
MAKE
for i in 1 2 3; do
  lockstep first --name make -- bash $here/make.$r "a  b" || exit 1
  lockstep barrier
  [ $r != 0 ] || rm -f $here/data $here/other.*
  lockstep barrier
done
SCRIPT
  passed
  lines $((3 * ranks)) '^ran [0-9]+ a  b$'
}

first_on_each_node() {
  job <<'SCRIPT'
lockstep first --scope node -- bash -c 'mkdir $here/$PMIX_HOSTNAME 2>/dev/null && echo "made by $PMIX_RANK"; ls -d $here/$PMIX_HOSTNAME >/dev/null'
SCRIPT
  passed
  lines 1 '^made by 0$'
  lines 1 '^made by 2$'
  lines 2 '^made by '
}

# Each node has a folder of its own under one name, which the command sees from where it is.
first_on_each_file_system() {
  job <<'SCRIPT'
node=$(mktemp -d /tmp/lockstep-shell-$PMIX_HOSTNAME-XXXXXX)
ln -sfn $here $node/shared
cd $node
lockstep first --scope files:shared -- bash -c 'echo "ran $PMIX_RANK" && mkdir $here/once 2>/dev/null && echo "made by $PMIX_RANK"'
lockstep first --scope files:. -- bash -c 'touch alone' && [ -e alone ] && echo "alone $PMIX_RANK"
lockstep barrier --scope elsewhere; echo "refused with $?"
rm -r $node
SCRIPT
  lines 1 '^made by 0$'
  lines $ranks '^ran [0-9]+$'
  lines $ranks '^alone [0-9]+$'
  lines $ranks '^refused with 2$'
}

# One has run it; the bytes are the same everywhere, whatever they are.
once() {
  head -c 1048576 /dev/urandom >random
  printf 'a\0b\n\n\377' >odd
  : >empty
  job <<'SCRIPT'
for file in random odd empty; do
  lockstep once -- bash -c "echo x >>$here/runs.$file; cat $here/$file" >out.$r || exit 1
  cmp out.$r $here/$file || exit 2
done
[ "$(lockstep once -- echo "rank $r")" = "rank 0" ] || exit 3
lockstep once -- bash -c 'echo half; echo "to stderr" >&2; exit 9' >out.$r
[ $? = 9 ] && [ "$(cat out.$r)" = half ]
SCRIPT
  passed
  lines 1 '^to stderr$'
  local file
  for file in random odd empty; do [ "$(wc -l <runs.$file)" -eq 1 ] || fail "$file was made twice"; done
}

long_output() {
  job <<'SCRIPT'
lockstep once -- head -c 17000000 /dev/zero >out.$r
echo "status $? $(stat -c %s out.$r)"
lockstep once -- head -c 16000000 /dev/zero | wc -c
SCRIPT
  lines 1 '^status 125 0$'
  lines $((ranks - 1)) '^status 123 0$'
  lines "$ranks" "its output is longer than 16777212 bytes; write it to a file, and print its path$"
  lines "$ranks" '^16000000$'
}

# However the program ends where it goes first: all know, and the job goes on.
outcomes() {
  job <<'SCRIPT'
say() { echo "$1 $r: $?"; }
lockstep first --name data -- bash -c 'exit 4'; say exit
lockstep first -- bash -c 'kill -TERM $$'; say signal
lockstep first -- no-such-program; say absent
lockstep first -- $here; say folder
lockstep once -- bash -c 'kill -KILL $$'; say once-signal
lockstep once -- no-such-program; say once-absent
lockstep first -- bash -c '[ $PMIX_RANK = 0 ] || exit 5'; say others
lockstep barrier; say barrier
SCRIPT
  passed
  local what code
  for what in exit:4 signal:143 absent:127 folder:126; do
    code=${what#*:} what=${what%:*}
    lines 1 "^$what 0: $code\$"
    lines $((ranks - 1)) "^$what [1-9]: 123\$"
  done
  lines $((ranks - 1)) "'data': rank 0 on n0, which went first, failed: 'bash' exited with code 4\$"
  lines $((ranks - 1)) "which went first, failed: 'bash' was killed by signal 15 \(Terminated\)\$"
  lines $((ranks + 1)) "cannot run 'no-such-program': no such program in PATH" # by once, where it ran
  lines "$ranks" '^once-signal [0-9]: 137$'
  lines "$ranks" '^once-absent [0-9]: 127$'
  lines $((ranks - 1)) '^others [1-9]: 5$'
  lines "$ranks" '^barrier [0-9]: 0$'
}

# All ranks see the same events at the same checks, whoever sets it and however often.
trigger() {
  job <<'SCRIPT'
RANDOM=$((r + 1))
for i in $(seq 100); do
  [ $((RANDOM % (3 * ranks))) != 0 ] || { lockstep trigger set a; lockstep trigger set a; touch $here/set.$i; }
  lockstep trigger check a --quiet
  case $? in 0) echo $i >>$here/fired.$r ;; 1) ;; *) exit 3 ;; esac
done
lockstep trigger set late # stands until its own check
lockstep trigger check a; [ $? = 1 ] || exit 4
lockstep trigger check late; [ $? = 0 ] || exit 5
lockstep trigger check late; [ $? = 1 ] || exit 6
SCRIPT
  passed
  lines 1 "trigger 'late' fired at check [0-9]+: set, by rank [0-9] on n"
  ls set.* | cut -d. -f2 | sort -n >expected
  [ -s expected ] || fail "nobody has set it"
  local rank
  for rank in $(seq 0 $((ranks - 1))); do
    cmp fired.$rank expected || fail "rank $rank saw other events"
  done
}

# A signal to the tasks, which the scripts ignore and the agents hear.
signals() {
  LOCKSTEP_SIGNALS=USR1 job <<'SCRIPT'
trap '' USR1
lockstep barrier
[ $r != 0 ] || kill -USR1 $(sed -n 's/^lockstep-\([0-9]*\)-.*/\1/p' <<<$PMIX_NAMESPACE)
until lockstep trigger check stop --verbose; do sleep 0.05; done
SCRIPT
  passed
  lines "$ranks" "^lockstep: trigger 'stop' fired at check [0-9]+: SIGUSR1, by rank [0-9] on n"
}

# As somebody outside the job asks it.
request() {
  job <<'SCRIPT'
lockstep barrier
if [ $r = 0 ]; then
  lockstep trigger $PMIX_NAMESPACE stop --reason "at noon" --wait 30s >$here/asked &
fi
until lockstep trigger check stop; do sleep 0.05; done
wait
SCRIPT
  passed
  lines 1 "^lockstep: trigger 'stop' fired at check [0-9]+: .*at noon, by rank 0 on n0"
  grep -q '^asked; rank 0 noticed it at check ' asked || fail "$(cat asked)"
}

# To the others the rank is lost, by name; its own commands say so at once and do not join again.
killed_agent() {
  job <<'SCRIPT'
. $here/helpers.sh
lockstep barrier || exit 1
if [ $r = 1 ]; then
  kill -9 $(agent)
  timeout 20 lockstep barrier
  echo "mine $?"
  timeout 20 lockstep trigger check x
  echo "mine $?"
else
  lockstep barrier --name after
  echo "others $?"
fi
SCRIPT
  lines 2 '^mine 125$'
  lines 2 'an agent of this task was here before and is gone, and the task with it to all others'
  lines $((ranks - 1)) '^others 125$'
  lines $((ranks - 1)) "'after': 1 of 4 ranks was gone: rank 1 on n0"
}

# Its arrival stands: the same command goes on with the wait, another one is refused.
killed_command() {
  job <<'SCRIPT'
. $here/helpers.sh
lockstep barrier
if [ $r = 1 ]; then
  for i in 1 2; do
    lockstep barrier --name slow & pid=$!
    waits slow
    kill -9 $pid
    wait $pid
  done
  lockstep trigger check x
  echo "refused $?"
  touch $here/go
elif [ $r = 2 ]; then
  wait_for $here/go
fi
lockstep barrier --name slow || exit 3
lockstep once -- echo all are here || exit 4
SCRIPT
  passed
  lines 1 '^refused 125$'
  lines 1 "lockstep barrier 'slow' was ended while it waited, .* type the same again to go on with that wait\$"
  lines "$ranks" '^all are here$'
}

# Nobody waits for a program that is gone, and the program is.
killed_first() {
  job <<'SCRIPT'
. $here/helpers.sh
if [ $r = 0 ]; then
  for kind in first once; do
    lockstep $kind -- bash -c 'echo $$ >$here/pid; exec sleep 1000' & pid=$!
    wait_for $here/pid
    program=$(cat $here/pid)
    rm $here/pid
    kill -9 $pid
    wait $pid
    while kill -0 $program 2>/dev/null; do sleep 0.02; done
  done
else
  lockstep first -- false; echo "first $?"
  lockstep once -- false; echo "once $?"
fi
lockstep once -- echo goes on || exit 1
SCRIPT
  passed
  lines 3 '^first 123$'
  lines 3 '^once 123$'
  lines 3 'failed: lockstep first was killed before its program had ended$'
  lines "$ranks" '^goes on$'
}

# The program hears what its command is told, and ends as it likes; without an agent it cannot go on.
ended_first() {
  job <<'SCRIPT'
. $here/helpers.sh
lockstep barrier
if [ $r = 0 ]; then
  lockstep first -- bash -c 'trap "echo cleaned up; exit 7" TERM; touch $here/runs; while :; do sleep 0.05; done' & pid=$!
  wait_for $here/runs
  kill -TERM $pid
  wait $pid
  echo "first $?"
  lockstep first -- bash -c 'echo $$ >$here/pid; exec sleep 1000' & pid=$!
  wait_for $here/pid
  kill -9 $(agent)
  wait $pid
  echo "orphan $?"
  kill -0 $(cat $here/pid) 2>/dev/null && echo "it runs on"
else
  lockstep first -- false
  echo "others $?"
  lockstep first -- false
  echo "lost $?"
fi
SCRIPT
  lines 1 '^cleaned up$'
  lines 1 '^first 7$'
  lines 3 '^others 123$'
  lines 1 '^orphan 125$'
  lines 3 '^lost 125$'
  lines 0 '^it runs on$'
}

# SIGKILL of the task: its agent goes too, in the middle of a wait or not, and the others know.
killed_shell() {
  job <<'SCRIPT'
. $here/helpers.sh
lockstep barrier
ends() { while kill -0 "$(cat $here/agent.$1)" 2>/dev/null; do sleep 0.02; done; }
agent >$here/agent.$r
lockstep barrier
case $r in
  2) lockstep barrier --name last &
     waits last
     kill -9 $$ ;;
  1) ends 2
     kill -9 $$ ;;
  *) ends 2
     ends 1
     lockstep barrier --name last --timeout 20s
     echo "others $?" ;;
esac
SCRIPT
  [ "$rc" -eq 137 ] || fail "exit status $rc"
  lines 2 '^others 125$'
  lines 2 "'last': .* gone: rank [12] on n"
  lines 1 "rank 2 on n1 \(pid [0-9]+\) was killed by signal 9"
}

two_at_once() {
  job <<'SCRIPT'
. $here/helpers.sh
lockstep barrier
if [ $r = 1 ]; then
  lockstep barrier --name one & pid=$!
  waits one
  lockstep barrier --name two
  echo "second $?"
  lockstep trigger set ok || exit 1 # is for nobody to wait for
  touch $here/go
  wait $pid || exit 2
else
  wait_for $here/go
  lockstep barrier --name one || exit 3
fi
lockstep trigger check ok
SCRIPT
  passed
  lines 1 '^second 125$'
  lines 1 "another command of this task is still at work: lockstep barrier 'one' \(process [0-9]+\); one at a time"
}

# Neither side talks to somebody else's.
other_user() {
  if [ "$(id -u)" -ne 0 ] || ! command -v setpriv >/dev/null; then
    echo "SKIPPED: needs root and setpriv"
    exit 77
  fi
  job <<'SCRIPT'
other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
lockstep barrier
if [ $r = 1 ]; then
  other lockstep barrier; echo "other $?"
  # Not even words that are right are read.
  other /usr/bin/python3 -c '
import re, socket
names = [line.split()[-1] for line in open("/proc/net/unix") if "@lockstep.task." in line]
for name in set(names):
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect("\0" + name[1:])
    try: s.send(bytes([14,0,0,0,1,0,3,0]) + bytes(8) + bytes([0,0,0,0]))
    except OSError: pass
    try: got = s.recv(100)
    except ConnectionResetError: got = b""
    assert got == b"", got
print("silent")'
fi
lockstep barrier
SCRIPT
  passed
  lines 1 '^other 125$'
  lines 1 "the agent of this task is user 0's, and this command user 65534's: run it as the one who started the job\$"
  lines 1 '^silent$'
}

nonsense() {
  job <<'SCRIPT'
lockstep barrier
if [ $r = 1 ]; then
  /usr/bin/python3 -c '
import os, random, socket
random.seed(1)
names = {line.split()[-1] for line in open("/proc/net/unix") if "@lockstep.task." in line}
for name in names:
    for i in range(200):
        s = socket.socket(socket.AF_UNIX); s.settimeout(0.2); s.connect("\0" + name[1:])
        try:
            s.send(os.urandom(random.randrange(1, 2000)))
            if i % 2: s.recv(1000)
        except (ConnectionResetError, BrokenPipeError, socket.timeout): pass
        s.close()
    # Answers and turns that nobody has asked for.
    for kind in (1, 2, 3, 4, 5):
        s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect("\0" + name[1:])
        body = bytes([1, kind]) + bytes(12)
        s.send(len(body).to_bytes(4, "little") + body)
        s.close()'
fi
lockstep barrier || exit 1
lockstep once -- echo fine
SCRIPT
  passed
  lines "$ranks" '^fine$'
}

# The agent that the first command starts holds nothing open of what the script may wait for.
pipes_end() {
  job <<'SCRIPT'
exec 9>&1 8>$here/locked.$r
flock 8
words=$(lockstep barrier; echo after)
[ "$words" = after ] || exit 1
lockstep once -- seq 100000 | head -1
lockstep barrier | cat
lockstep barrier || exit 2
exec 8>&-
flock --nonblock $here/locked.$r true || exit 3
SCRIPT
  passed
  lines "$ranks" '^1$'
}

descriptors() {
  job <<'SCRIPT'
. $here/helpers.sh
exec 7>$here/open.$r
lockstep barrier
# Nothing else than null, its own pipe and sockets, what it is woken by, and the job's memory.
ls -l /proc/$(agent)/fd | sed -n 's/.* -> //p' | grep -vE '^(/dev/null|pipe:|socket:|anon_inode:|/memfd:lockstep-page)' | sed 's/^/holds /'
agent=$(agent)
[ "$(readlink /proc/$agent/fd/2)" != "$(readlink /proc/$$/fd/2)" ] || echo holds stderr
lockstep barrier
SCRIPT
  passed
  lines 0 '^holds '
}

missing() {
  job <<'SCRIPT'
lockstep barrier
[ $r != 3 ] || { until [ -e $here/all ]; do sleep 0.1; done; exit 0; }
lockstep barrier --name 'epoch end' --timeout 500ms
echo "late $?"
lockstep barrier
echo "broken $?"
touch $here/said.$r
[ $(ls $here/said.* | wc -l) -lt 3 ] || touch $here/all
SCRIPT
  passed
  lines 3 '^late 124$'
  lines 3 "^lockstep: wait_for_everyone 'epoch end': 1 of 4 ranks was missing at the deadline: rank 3 on n1"
  lines 3 '^broken 12[45]$'
  lines 3 'this group broke in an earlier call'
}

# Reports of a long wait come out where somebody waits.
words_while_waiting() {
  LOCKSTEP_REPORT=100ms job <<'SCRIPT'
. $here/helpers.sh
lockstep barrier
if [ $r = 1 ]; then
  until grep -q 'has waited .* for rank 1 on n0' $here/words; do sleep 0.1; done
  lockstep barrier --name slow
elif [ $r = 0 ]; then
  lockstep barrier --name slow 2>$here/words
else
  lockstep barrier --name slow
fi
SCRIPT
  passed
}

# A program in the script joins as well, before and after; what it then needs, it says.
programs() {
  job <<'SCRIPT'
lockstep barrier
$api_job --gtest_brief=1 >$here/plain.$r 2>&1 && exit 1
true
SCRIPT
  passed
  job <<'SCRIPT'
lockstep barrier
PMIX_GDS_MODULE=hash LOCKSTEP_RECORD=$here/record.json $api_job >$here/hash.$r 2>&1 || exit 2
lockstep once -- echo still together
SCRIPT
  passed
  lines "$ranks" '^still together$'
  [ "$(cat plain.* | grep -c 'type: PMIX_GDS_MODULE=hash PROGRAM')" -ge "$ranks" ] || fail "$(cat plain.0)"
  grep -q '^\[  PASSED  \]' hash.0 || fail "$(tail hash.0)"
  job <<'SCRIPT'
$api_job >$here/before.$r 2>&1 || exit 2
lockstep once -- echo after it
SCRIPT
  passed
  lines "$ranks" '^after it$'
}

# Whoever cannot join says why, once; the others do not wait for it longer than for one that is gone.
no_join() {
  LOCKSTEP_JOIN_TIMEOUT=3s job <<'SCRIPT'
[ $r != 2 ] || export LOCKSTEP_TIMEOUT=nonsense
lockstep barrier; echo "first $?"
timeout 20 lockstep barrier; echo "second $?"
SCRIPT
  lines "$ranks" '^first 125$'
  lines "$ranks" '^second 125$'
  lines 1 'LOCKSTEP_TIMEOUT=nonsense'
  # Whoever asks again while the agent is still there hears from itself why. How the first wait ends
  # depends on who is quicker: the server's fence, or this rank's own clock.
  lines "$((2 * ranks - 1))" \
    'an agent of this task was here before and is gone|the start-up fence failed|have joined in time'
  job <<'SCRIPT'
[ $r != 2 ] || export LOCKSTEP_TRANSPORT=pmix_fence
timeout 30 lockstep barrier; echo "first $?"
SCRIPT
  lines "$ranks" '^first 125$'
  lines 2 'n0 can use ucx, but n1 can use pmix_fence|n1 can use pmix_fence, but n0 can use ucx'
}

# It waits for nobody: neither for others that never come, nor does the job for it.
set_alone() {
  job <<'SCRIPT'
[ $r != 1 ] || lockstep trigger set unheard
SCRIPT
  passed
  [ ! -s run.log ] || fail "not silent"
}

under_mpirun() {
  cat >script.sh <<'SCRIPT'
lockstep barrier || exit 1
lockstep first -- echo "hi $PMIX_RANK" || exit 2
echo "all have $(lockstep once -- echo one)"
SCRIPT
  timeout 100 mpirun --allow-run-as-root --oversubscribe -n "$ranks" bash script.sh >run.log 2>&1 ||
    fail "exit status $?"
  lines "$ranks" '^hi [0-9]$'
  lines "$ranks" '^all have one$'
  nothing_is_left
}

not_a_task() {
  rc=0
  env -u LOCKSTEP_BOOTSTRAP "$lockstep" barrier >run.log 2>&1 || rc=$?
  [ "$rc" -eq 125 ] || fail "exit status $rc"
  lines 1 'type: srun --mpi=pmix bash SCRIPT, or: lockstep run -n 4 bash SCRIPT'
  rc=0
  "$lockstep" shell-agent >run.log 2>&1 3>&- 4>&- || rc=$?
  [ "$rc" -eq 2 ] || fail "exit status $rc"
  # shellcheck disable=SC2016 # for that shell
  LOCKSTEP_BOOTSTRAP=single setsid --wait bash -c '
    lockstep barrier && x=$(lockstep once -- echo alone) && [ "$x" = alone ] &&
      lockstep trigger set a && lockstep trigger check a' >run.log 2>&1 || fail "a job of one"
  "$lockstep" trigger 4711 check >run.log 2>&1 && fail "taken for a job's own"
  lines 1 'type|written: lockstep trigger JOB --name=check'
  "$lockstep" barrier --timeout 5x >run.log 2>&1 && fail "taken for a time"
  lines 1 'not a time like 500ms'
  "$lockstep" first >run.log 2>&1 && fail "no program"
  lines 1 'which program\? none is given'
}

"$case_name"
echo "passed: $case_name"
