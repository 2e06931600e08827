#!/bin/bash
# Kills random ranks amid stream barriers, COUNT times, several jobs at a time; then all GPUs must work.
# Exit status 77: there is no driver here.
# usage: kills.sh BUILD COUNT [RANKS [NODES [JOBS]]]
set -uo pipefail
build=$1 count=$2 ranks=${3:-2} nodes=${4:-1} jobs=${5:-4}
lockstep=$build/api/cli/lockstep
victim=$build/tests/gpu/stream_victim
"$build/tests/gpu/gpu_check" >/dev/null 2>&1 && status=0 || status=$?
if [ "$status" -eq 77 ]; then
  echo "left out: no driver here"
  exit 77
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# one SEED: a job of which one rank is lost; all the others have to go on.
one() {
  local log=$logs/$1 start=$SECONDS
  timeout -s KILL 60 "$lockstep" run --keep-going -n "$ranks" --nodes "$nodes" "$victim" "$1" >"$log" 2>&1
  if [ "$(grep -c 'goes on after lost: ' "$log")" -ne $((ranks - 1)) ]; then
    echo "seed $1 after $((SECONDS - start)) s:"
    cat "$log"
    touch "$logs/failed"
  fi
}
for ((seed = 1; seed <= count; seed += jobs)); do
  for ((job = seed; job < seed + jobs && job <= count; ++job)); do one "$job" & done
  wait
done
[ ! -e "$logs/failed" ] || exit 1
echo "$count killed: none of the others was held"
