#!/bin/bash
# Gives a rank its own view of a folder, in a mount namespace of its own, and runs a command there.
# Usage: views.sh HOW BASE RANKS_PER_NODE COMMAND...   (what is mounted appears at BASE/view)
set -euo pipefail
how=$1 base=$2 per_node=$3
shift 3
rank=$PMIX_RANK node=$((PMIX_RANK / per_node))
export how base rank node

views() {
  set -euo pipefail
  bind() { mount --bind "$base/$1" "$base/view"; }
  case $how in
    nothing) ;;
    one) bind one ;;
    of_node) bind "node$node" ;;
    of_rank) mount -t tmpfs none "$base/view" ;;
    mixed) if [ "$node" -lt 2 ]; then bind one; else bind "node$node"; fi ;;
    read_only) bind one && mount -o remount,bind,ro "$base/view" ;;
    partly_read_only)
      bind one
      if [ "$node" -ge 2 ]; then mount -o remount,bind,ro "$base/view"; fi ;;
    read_only_of_rank) mount -t tmpfs none "$base/view" && mount -o remount,ro "$base/view" ;;
    overlay)
      mount -t tmpfs none "$base/upper" && mkdir "$base/upper/up" "$base/upper/work"
      mount -t overlay none "$base/view" \
        -o "lowerdir=$base/one,upperdir=$base/upper/up,workdir=$base/upper/work" ;;
    *) echo "views.sh: no such view: $how" >&2 && exit 2 ;;
  esac
  exec "$@"
}
export -f views
exec unshare -m bash -c 'views "$@"' views "$@"
