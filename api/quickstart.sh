#!/bin/bash
# From a fresh Debian machine to a running job: packages, build, the example on 8 ranks over 4
# emulated nodes. Needs root or sudo only if packages are missing. Leaves everything in
# build-quickstart/ (LOCKSTEP_BUILD names another folder), nothing else of the tree is touched.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$(realpath -m "${LOCKSTEP_BUILD:-$root/build-quickstart}")"
# The build and the programs have settings of their own that begin like this.
unset LOCKSTEP_BUILD

case "${1:-}" in
  "") ;;
  -h | --help)
    echo "Usage: bash api/quickstart.sh     (no arguments; run it from anywhere)"
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
  *)
    echo "quickstart: unknown argument '$1'; try --help" >&2
    exit 2 ;;
esac

start=$SECONDS
step=0
title=
next_step() {
  step=$((step + 1))
  title=$1
  printf '\n[%d/4] %s\n' "$step" "$title"
}
on_exit() {
  local status=$?
  if [ "$status" -ne 0 ] && [ -n "$title" ]; then
    printf '\nquickstart: step %d failed (%s) with exit code %d; see above why\n' \
      "$step" "$title" "$status" >&2
  fi
}
trap on_exit EXIT
# quietly COMMAND...: shows the output only if the command fails.
quietly() {
  local log status=0
  log="$(mktemp)"
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

echo "lockstep quick start: packages, build, an example on 8 ranks"

next_step "packages"
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
  echo "not root and no sudo: this works only if all packages of api/packages.txt are there"
fi
bash "$root/.ci/install-packages.sh" build
echo "all there"

next_step "configure in $build"
options=(-DCMAKE_BUILD_TYPE=Release -DLOCKSTEP_BUILD_TESTS=OFF -DLOCKSTEP_BUILD_CLI=ON
  -DLOCKSTEP_BUILD_EXAMPLES=ON)
if command -v ccache >/dev/null; then
  options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
quietly cmake -S "$root" -B "$build" -G Ninja "${options[@]}"
echo "done"

next_step "build (a minute or two the first time)"
# cmake --build and not ninja: it finds the ninja that the folder was configured with.
cmake --build "$build"

lockstep="$build/api/cli/lockstep"
ngram="$build/api/examples/ngram"
model="$build/words.model"
next_step "run: lockstep run -n 8 --nodes 4 ngram"
echo "(8 ranks on 4 emulated nodes; each node has a PMIx server of its own, as under Slurm)"
echo
"$lockstep" run -n 8 --nodes 4 --timeout 300 "$ngram" --cache "$build/cache" --output "$model"

cat <<END

It works; $((SECONDS - start)) s in all. What to type next:

  export PATH=$build/api/cli:$build/api/examples:\$PATH

  lockstep run -n 8 --nodes 4 ngram --help     what else the example can do, e.g. --data book.txt
  lockstep run -n 8 --nodes 4 hello_c          the smallest program, in C
  lockstep run -n 8 --nodes 4 ./your_program   no scheduler needed
  srun --mpi=pmix -N 4 -n 8 ngram              the same on a cluster, with Slurm
  bash $root/tests/run.sh        all tests

To see how it is written: $root/api/examples/ngram/main.cpp
END
