#!/bin/bash
# Installs the build into a staging folder, builds consumers with find_package and pkg-config, runs
# them. usage: install_test.sh BUILD CONSUMER_SOURCES WORK
set -euo pipefail
build=$1 sources=$2 work=$3/stage
rm -rf "$work" && mkdir -p "$work"
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"

cmake -S "$sources/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/configure.log"
cmake --build "$work/consumer" >"$work/build.log"

libdir=$(dirname "$(find "$work/prefix" -name liblockstep.so)")
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Werror "$sources/consumer/consumer.c" -o "$work/by_pkg_config" \
  $(PKG_CONFIG_PATH="$libdir/pkgconfig" pkg-config --cflags --libs lockstep)

# The installed command must find the installed plugins by itself: no variable points anywhere.
unset LOCKSTEP_PLUGIN_PATH LD_LIBRARY_PATH
run() { timeout 60 "$work/prefix/bin/lockstep" run -n 4 --nodes 2 "$@"; }
LD_LIBRARY_PATH="$libdir" run "$work/by_pkg_config" | grep -x "4 ranks on 2 nodes"
run "$work/consumer/consumer_c" | grep -x "4 ranks on 2 nodes"
run "$work/consumer/consumer_cpp" | grep -x "4 ranks on 2 nodes"
"$work/prefix/bin/lockstep" info | grep "chosen for rounds between nodes"
if "$work/prefix/bin/lockstep" info | grep "$build/"; then
  echo "the installed library looks into the build folder" >&2
  exit 1
fi
if find "$work/prefix" -name '*fake*' -o -name '*odd_tables*' | grep .; then
  echo "what is for tests only is installed" >&2
  exit 1
fi
test -f "$work/prefix/share/man/man1/lockstep.1"
# What Slurm is told to load is there, wherever it was installed to.
conf=$(find "$work/prefix" -name lockstep.conf)
if [ -n "$conf" ]; then test -f "$(sed -n 's/^optional //p' "$conf")"; fi
