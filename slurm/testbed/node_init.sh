#!/bin/bash
# Process 1 of a node: gives it a name, folders and /proc of its own, then reaps orphans for ever.
# Usage: node_init.sh STATE NAME [SHARED-DIR...], in namespaces that nodes.sh has made for it.
set -eu
state=$1 name=$2
shift 2

# /proc is still the outer one, so this is the number by which the outside knows this process.
read -r pid _ </proc/self/stat
echo "$name" >/proc/sys/kernel/hostname

# /tmp and /run are about to be covered: what shall be seen in them is held open, and mounted from
# the descriptor. No file of the machine is needed as a place to keep it meanwhile.
exec {state_fd}<"$state"
held=()
for shared in "$@"; do
  exec {fd}<"$shared"
  held+=("$fd")
done
mount -t tmpfs -o mode=1777 none /tmp
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=1777 none /dev/shm
show() { # DESCRIPTOR PLACE
  mkdir -p "$2"
  # As it is written: resolved, it would be the empty folder that was just made.
  mount --no-canonicalize --rbind "/proc/self/fd/$1" "$2"
  eval "exec $1<&-"
}
show_all() {
  local i=0 shared
  show "$state_fd" /run/testbed
  for shared in "$@"; do
    show "${held[i]}" "$shared"
    i=$((i + 1))
  done
}
show_all "$@"
mount --bind /run/testbed/hosts /etc/hosts
mount -t proc proc /proc
# The interfaces of this node, and not the machine's, are what UCX is to find there.
mount -t sysfs sysfs /sys

echo "$pid" >"/run/testbed/pid/.$name"
mv "/run/testbed/pid/.$name" "/run/testbed/pid/$name"
trap : TERM INT HUP
while :; do
  sleep 1000000 &
  wait $!
done
