#!/bin/bash
# What has to hold on a machine with GPUs, on 1, 2 and 4 ranks, as many as there are GPUs at most; and
# what the bindings do. Exit status 77: there is no driver here.
# usage: run.sh BUILD
set -euo pipefail
build=$1
lockstep=$build/api/cli/lockstep
check=$build/tests/gpu/gpu_check
export LOCKSTEP_TIMEOUT=60s
"$check" >/dev/null 2>&1 && status=0 || status=$?
if [ "$status" -eq 77 ]; then
  echo "left out: no driver here"
  exit 77
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed() {
  cat "$log"
  echo "FAILED: $*"
  exit 1
}

"$lockstep" info >"$log"
sed -n '/^GPUs/,/^$/p' "$log"
grep -q 'this process would use' "$log" || failed "info shows no GPU"
gpus=$("$lockstep" info --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["gpus"]["devices"]))')

for ranks in 1 2 4; do
  [ "$ranks" -le "$gpus" ] || continue
  for what in data capture fail; do
    "$lockstep" run -n "$ranks" "$check" "$what" >"$log" 2>&1 || failed "$what on $ranks ranks"
  done
  "$lockstep" run -n "$ranks" "$check" data >"$log" 2>&1 || failed "data after a failure"
  "$lockstep" run -n "$ranks" "$check" times
  "$lockstep" run -n "$ranks" "$lockstep" topo
done
# Two ranks on one GPU, and over two emulated nodes.
"$lockstep" run -n 2 env CUDA_VISIBLE_DEVICES=0 "$lockstep" topo >"$log"
grep -q 'shared with rank' "$log" || failed "two ranks on one GPU"
"$lockstep" run -n 2 --nodes 2 "$check" data >"$log" 2>&1 || failed "data on two nodes"

if [ "$gpus" -ge 2 ]; then
  # Each sees its own only: NVML tells of the other, and the groups are the same.
  # shellcheck disable=SC2016 # for the rank's shell
  "$lockstep" run -n 2 bash -c 'CUDA_VISIBLE_DEVICES=$PMIX_RANK exec "$0" topo --json' "$lockstep" >"$log"
  hidden=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["gpu_groups"])' "$log")
  "$lockstep" run -n 2 "$lockstep" topo --json >"$log"
  seen=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["gpu_groups"])' "$log")
  echo "groups of 2 ranks: $seen; with CUDA_VISIBLE_DEVICES: $hidden"
  [ "$seen" = "$hidden" ] || failed "CUDA_VISIBLE_DEVICES changes the groups"
fi
echo passed
