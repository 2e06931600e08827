#!/bin/bash
# Builds with a sanitizer and runs what it can tell something about: the unit tests, the simulator,
# and whole jobs. usage: sanitize_test.sh KINDS SOURCE BUILD
set -euo pipefail
kinds=$1 source=$2 build=$3
here=$(cd "$(dirname "$0")" && pwd)
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
# RelWithDebInfo: reports need lines, and -O3 only makes the builds longer.
cmake -S "$source" -B "$build" -G Ninja "${launcher[@]}" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DLOCKSTEP_SANITIZE="$kinds" -DLOCKSTEP_SANITIZED_TESTS_ONLY=ON -DLOCKSTEP_BUILD_EXAMPLES=OFF >/dev/null
ninja -C "$build" >"$build/build.log" || { tail -n 50 "$build/build.log"; exit 1; }

export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:suppressions=$here/asan.supp"
export LSAN_OPTIONS="suppressions=$here/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export TSAN_OPTIONS="suppressions=$here/tsan.supp:halt_on_error=1:second_deadlock_stack=1"
# libucm looks at a thread's madvise() after the sanitizer has forgotten the thread, and crashes in it.
export UCX_MEM_MMAP_HOOK_MODE=none
exec ctest --test-dir "$build" --output-on-failure --timeout 300 -L 'unit|sim|job' \
  -E 'api_(64|16)_ranks|soak_million|launcher|leftovers'
