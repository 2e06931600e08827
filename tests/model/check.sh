#!/bin/bash
# Has spin look at every run of the model. usage: check.sh FOLDER RESULT OPTION...
#   RESULT  holds: nothing must be found, in a search that is not cut short; else what must be:
#           one_poll   somebody returns false from, or passes, the poll of a meeting
#           too_early  a node is held again while the last meeting is still to come there
#           untold     something set is told in no meeting
#           stuck      somebody waits for ever
#   OPTION  of the model (free_poll.pml), e.g. -DRANKS=3; -DNP: look for endless runs instead
set -euo pipefail
folder=$1 expected=$2
shift 2
command -v spin >/dev/null ||
  { echo "skipped: spin is not installed; apt-get install spin"; exit 77; }
model="$(cd "$(dirname "$0")" && pwd)/free_poll.pml"
case $expected in
  holds) pattern='errors: 0$' ;;
  one_poll) pattern='assertion violated.*(own\[r\]<=number|own\[o\])' ;;
  too_early) pattern='assertion violated.*kind\[d\]==.*entered' ;;
  untold) pattern='assertion violated.*untold==0' ;;
  stuck) pattern='assertion violated.*does\[r\]==' ;;
  *) echo "no such result: $expected" >&2; exit 2 ;;
esac

rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
spin -a "$@" "$model" >spin.txt || { cat spin.txt; exit 1; }
# A search that must end at a fault is over before an optimizer would be, and -O2 costs the others
# more than it saves.
flags=(-O0 -DSAFETY)
[ "$expected" != holds ] || flags=(-O1 -DSAFETY)
search=()
if [[ " $* " == *" -DNP "* ]]; then
  flags=(-O1 -DNP)
  search=(-l)
fi
"${CC:-cc}" "${flags[@]}" -DNOFAIR -DMEMLIM=1900 -w -o pan pan.c
./pan -m20000 -w22 "${search[@]}" >pan.txt 2>&1 || { cat pan.txt; exit 1; }
grep -E '^pan:1|states, stored|total actual memory|elapsed|not completed|too small' pan.txt || true
if ! grep -Eq "$pattern" pan.txt || { [ "$expected" = holds ] &&
  grep -Eq 'not completed|too small|error:' pan.txt; }; then
  echo "expected: $expected; found:"
  cat pan.txt
  [ ! -e free_poll.pml.trail ] || spin -p -g -k free_poll.pml.trail "$@" "$model" | tail -n 120
  exit 1
fi
rm -f pan pan.?
