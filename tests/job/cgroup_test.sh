#!/bin/bash
# Runs a job whose ranks sit in control groups of their own, each with its own processors and its own
# account of memory, as schedulers that confine tasks do. usage: cgroup_test.sh LOCKSTEP PROGRAM
set -euo pipefail
lockstep=$1 program=$2
ranks=6 nodes=2 skip=77

skip() {
  echo "SKIPPED: $*"
  exit "$skip"
}

# The hierarchies that ranks are put into: the single one of version 2, or two of version 1.
roots=()
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  roots=(/sys/fs/cgroup)
else
  for controller in cpuset memory; do
    [ -d "/sys/fs/cgroup/$controller" ] && roots+=("/sys/fs/cgroup/$controller")
  done
fi
[ "${#roots[@]}" -gt 0 ] || skip "no control groups are mounted on /sys/fs/cgroup"

name=lockstep-test-$$
remove_groups() {
  for root in "${roots[@]}"; do
    rmdir "$root/$name"/rank* "$root/$name" 2>/dev/null || true
  done
}
trap remove_groups EXIT

processors=$(nproc)
for root in "${roots[@]}"; do
  mkdir "$root/$name" 2>/dev/null || skip "no group can be made in $root (run as root, outside a container)"
  # Version 2 hands controllers down on request only, and a root with processes of its own may refuse.
  { echo '+cpuset +memory' >"$root/$name/cgroup.subtree_control"; } 2>/dev/null || true
  # Version 1 wants every cpuset filled in before a process may enter it.
  if [ -e "$root/$name/cpuset.mems" ] && [ -e "$root/cpuset.mems" ]; then
    cat "$root/cpuset.mems" >"$root/$name/cpuset.mems"
    cat "$root/cpuset.cpus" >"$root/$name/cpuset.cpus"
  fi
  for ((rank = 0; rank < ranks; rank++)); do
    group="$root/$name/rank$rank"
    mkdir "$group"
    if [ -e "$group/cpuset.cpus" ]; then
      [ -e "$root/cpuset.mems" ] && cat "$root/cpuset.mems" >"$group/cpuset.mems"
      echo $((rank % processors)) >"$group/cpuset.cpus"
    fi
  done
done

# Each rank enters its groups, says where it is, and becomes the program.
export LOCKSTEP_TEST_GROUPS="${roots[*]/%//$name}"
output=$("$lockstep" run -n "$ranks" --nodes "$nodes" bash -c '
  for group in $LOCKSTEP_TEST_GROUPS; do echo $$ >"$group/rank$PMIX_RANK/cgroup.procs"; done
  echo "in: $(grep -o "lockstep-test-.*/rank[0-9]*" /proc/self/cgroup | sort -u)"
  unset LOCKSTEP_TEST_GROUPS
  exec "$0"' "$program" 2>&1) || { echo "$output"; exit 1; }
echo "$output" | tail -n 3
places=$(echo "$output" | grep '^in: .*/rank' | sort -u | wc -l)
if [ "$places" -ne "$ranks" ]; then
  echo "expected $ranks ranks in groups of their own, saw $places" >&2
  exit 1
fi
