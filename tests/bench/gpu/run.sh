#!/bin/bash
# All benchmarks on GPUs, on 2 ranks and, where there are as many GPUs, on 4; prints Markdown. Each
# part is a job of its own with a time limit: what fails or gets stuck is said, the others go on.
# Exit status 77: there are fewer than 2 GPUs.
# usage: run.sh BUILD [LINES]      LINES: a file that gets what was measured, as JSON
set -uo pipefail
build=$(cd "$1" && pwd) || exit 2
lines=${2:-$build/tests/bench/gpu/lines.json}
here=$(cd "$(dirname "$0")" && pwd)
lockstep=$build/api/cli/lockstep
bench=$build/tests/bench/gpu/gpu_bench
blocks=${BLOCKS:-9}
# Multicast over NVLink stays off: a process killed in its set-up can take the machine with it.
export NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1
export LOCKSTEP_TIMEOUT=60s
: >"$lines" || exit 2

gpus=$("$lockstep" info --json | python3 -c '
import json, sys
print(len((json.load(sys.stdin).get("gpus") or {}).get("devices") or []))') || gpus=0
if [ "${gpus:-0}" -lt 2 ]; then
  echo "left out: ${gpus:-0} GPUs here"
  exit 77
fi

# part SECONDS NAME RANKS ARGUMENT...: `lockstep run` with these arguments.
part() {
  local limit=$1 name=$2 ranks=$3 start=$SECONDS status=0
  shift 3
  timeout -k 10 $((limit + 20)) "$lockstep" run -n "$ranks" --keep-going --timeout "$limit" "$@" \
    </dev/null >>"$lines" || status=$?
  echo "$name, $ranks ranks: status $status, $((SECONDS - start)) s" >&2
}
peers() {
  part "$1" "$2" "$3" python3 "$here/peers.py" --library "$build/runtime/liblockstep.so" \
    --calls "$build/tests/bench/gpu/libgpu_bench_calls.so" --blocks "$blocks" "${@:4}"
}

for ranks in 2 4; do
  [ "$ranks" -le "$gpus" ] || continue
  # First what the goals are about.
  part 60 graph "$ranks" "$bench" graph --blocks "$blocks"
  part 60 host "$ranks" "$bench" host --blocks "$blocks"
  peers 100 "Accelerate, host and trigger" "$ranks" host trigger
  peers 100 "torch, graph" "$ranks" graph
  peers 120 "Accelerate, loop" "$ranks" loop
  part 60 eager "$ranks" "$bench" eager --blocks "$blocks"
  part 60 trigger "$ranks" "$bench" trigger --blocks "$blocks"
  part 90 setup "$ranks" "$bench" setup
  # GPUs that do not reach each other, on one node and between nodes, and what they would use of NCCL.
  for way in graph eager; do
    part 60 "$way, by hosts" "$ranks" --env NCCL_P2P_DISABLE=1 --env LOCKSTEP_GPU_PEERS=no \
      "$bench" "$way" --only empty,lockstep,nccl --tag hosts --blocks "$blocks"
    part 60 "$way, carried" "$ranks" --nodes 2 --env NCCL_P2P_DISABLE=1 "$bench" "$way" \
      --gpu-by-rank --only empty,lockstep,nccl --tag carried --blocks "$blocks"
  done
done
python3 "$here/report.py" "$lines"
