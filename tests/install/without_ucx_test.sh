#!/bin/bash
# Builds without UCX and CUDA and runs a job on two nodes over the fallback. usage: without_ucx_test.sh SOURCE WORK
set -euo pipefail
source=$1 work=$2
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
# Compiled as tests/run.sh does, so that ccache has most of it.
cmake -S "$source" -B "$work" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLOCKSTEP_WARNINGS_AS_ERRORS=ON \
  "${launcher[@]}" -DLOCKSTEP_WITH_UCX=OFF -DLOCKSTEP_WITH_CUDA=OFF -DLOCKSTEP_BUILD_TESTS=OFF >/dev/null
ninja -C "$work" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
timeout 60 "$work/api/cli/lockstep" info >"$work/info.log"
for plugin in ucx cuda; do
  test ! -e "$work/plugins/lockstep_$plugin.so"
  grep "no plugin lockstep_$plugin.so" "$work/info.log"
done
# Many short jobs: whoever leaves first must not take away what the others have not fetched yet.
for _ in $(seq 25); do
  timeout 60 "$work/api/cli/lockstep" run -n 4 --nodes 2 "$work/api/cli/lockstep" topo >"$work/topo.log" 2>&1 ||
    { cat "$work/topo.log"; exit 1; }
  grep -q 'nodes joined by pmix_fence' "$work/topo.log" || { cat "$work/topo.log"; exit 1; }
done
