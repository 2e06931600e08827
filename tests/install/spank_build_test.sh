#!/bin/bash
# LOCKSTEP_WITH_SPANK: AUTO, ON and OFF, with and without Slurm's header, and what is installed.
# usage: spank_build_test.sh SOURCE WORK HEADER   (HEADER: 1 if this machine has slurm/spank.h)
set -euo pipefail
source=$1 work=$2 header=$3
rm -rf "$work" && mkdir -p "$work"
configure() { # CHOICE OPTIONS...
  local choice=$1
  shift
  cmake -S "$source" -B "$work/$choice" -G Ninja -DLOCKSTEP_WITH_SPANK="$choice" \
    -DLOCKSTEP_BUILD_TESTS=OFF -DLOCKSTEP_BUILD_CLI=OFF -DLOCKSTEP_BUILD_EXAMPLES=OFF \
    -DLOCKSTEP_WARNINGS_AS_ERRORS=ON "$@" >"$work/$choice.log" 2>&1
}
failed() {
  cat "$work"/*.log
  echo "FAILED: $*"
  exit 1
}
has_plugin() { ninja -C "$work/$1" -t targets all | grep 'spank_lockstep' >/dev/null; }

# All that is in /usr/include; what is needed of it beside Slurm's is named.
hidden="-DCMAKE_IGNORE_PATH=/usr/include -DXXHASH_INCLUDE_DIR=/usr/include"
configure AUTO $hidden || failed "without the header nothing can be configured"
[ "$(grep -c 'the SPANK plugin is not built: .*libslurm-dev' "$work/AUTO.log")" -eq 1 ] ||
  failed "it is not said in one line that the plugin is left out"
! has_plugin AUTO || failed "AUTO builds a plugin without the header"
! configure ON $hidden || failed "ON is content without the header"
grep -q 'LOCKSTEP_WITH_SPANK=ON, but slurm/spank.h is not here' "$work/ON.log" ||
  failed "ON does not say what is missing"
rm -r "$work/ON" "$work/AUTO"
configure OFF || failed "OFF"
! has_plugin OFF || failed "OFF builds the plugin"
! grep -q 'SPANK plugin' "$work/OFF.log" || failed "OFF talks about it"

if [ "$header" != 1 ]; then
  echo "passed, but for what needs slurm/spank.h"
  exit 0
fi
for compiler in gcc clang; do
  command -v "$compiler" >/dev/null || continue
  rm -rf "$work/ON"
  configure ON -DCMAKE_C_COMPILER="$compiler" -DCMAKE_INSTALL_PREFIX=/opt/lockstep ||
    failed "ON with $compiler"
  ninja -C "$work/ON" spank_lockstep >"$work/build.log" || failed "$compiler does not build it"
done
configure AUTO || failed "AUTO"
has_plugin AUTO || failed "AUTO does not build it although the header is there"
DESTDIR=$work/stage cmake --install "$work/ON" --component spank >"$work/install.log"
root=$work/stage/opt/lockstep
line=$(grep -v '^#' "$root/share/lockstep/plugstack.conf.d/lockstep.conf")
[[ $line =~ ^optional\ (/opt/lockstep/[^ ]*/spank_lockstep.so)$ ]] || failed "plugstack.conf: $line"
[ -f "$work/stage${BASH_REMATCH[1]}" ] || failed "the plugin is not where plugstack.conf says"
[ -f "$root/share/man/man8/lockstep-spank.8" ] || failed "there is no manual page"
if command -v man >/dev/null; then
  man -l --warnings "$root/share/man/man8/lockstep-spank.8" 2>"$work/man.log" >"$work/page"
  [ ! -s "$work/man.log" ] || failed "the manual page has mistakes"
fi
echo passed
