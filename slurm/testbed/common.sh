# What all parts of the testbed share: where its state is, how it complains, who its processes are.
# shellcheck shell=bash

dir=$(realpath -m "${LOCKSTEP_TESTBED_DIR:-${TMPDIR:-/tmp}/lockstep-testbed-$UID}")
init_script=$here/node_init.sh
max_nodes=64

say() { echo "testbed: $*" >&2; }

# die TEXT [WHAT-TO-TYPE]: it cannot be done.
die() {
  say "$1"
  [ -z "${2:-}" ] || say "type: $2"
  exit 1
}

# refuse TEXT WHAT-TO-TYPE: it was asked for in a way that makes no sense.
refuse() {
  say "$1"
  say "type: $2"
  exit 2
}

require_root() {
  [ "$(id -u)" -eq 0 ] ||
    die "only root can make namespaces, mounts and links" "sudo $here/testbed ..."
}

# Descriptor 9 holds the folder until this process ends. Whatever outlives it must be started with
# 9<&-, or the testbed stays locked for ever.
lock_state() {
  local try
  for try in 1 2 3 4 5; do
    exec 9<"$dir" || die "cannot open $dir" "ls -ld $dir"
    flock --wait 120 9 ||
      die "another testbed command has been busy in $dir for 2 minutes" "testbed status"
    # Whoever held it may have been `down`, which removes the folder.
    [ "$dir" -ef /proc/self/fd/9 ] && return
    [ -d "$dir" ] || mkdir -m 0711 "$dir"
  done
  die "$dir is removed and made again all the time ($try tries); who else uses it?"
}

# Files of a testbed are deleted by root without asking: only in a folder that a testbed has made.
is_ours() { [ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] && [ -f "$dir/shape" ]; }

require_up() {
  require_root
  is_ours || die "there is no testbed in $dir" "testbed up"
  load_shape
}

# The options it was started with, as variables: nodes, cpus, leaves, shared, plugstack.
load_shape() {
  # shellcheck source=/dev/null
  . "$dir/shape"
}

node_names() {
  local i
  for ((i = 0; i < nodes; i++)); do echo "n$i"; done
}

is_init() {
  local line=/proc/$1/cmdline
  grep -sqzxF -- "$init_script" "$line" && grep -sqzxF -- "$dir" "$line"
}

# All that was started for this folder, known by its command line and not by a number in a file:
# unshare and process 1 of each node. Everything else in a node ends with its process 1.
our_processes() {
  local file
  # A process that ends meanwhile is an error to grep, and no matter here.
  { grep -slzxF -- "$init_script" /proc/[0-9]*/cmdline || true; } | while read -r file; do
    file=${file#/proc/}
    ! is_init "${file%%/*}" || echo "${file%%/*}"
  done
}

# has_ended PROCESS: all of it. Its command line goes earlier, while a node's process 1 is still
# waiting for the other processes of the node to end.
has_ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; }

# node_pid NODE: its process 1 as seen from here; fails if the node is dead.
node_pid() {
  local pid
  pid=$(cat "$dir/pid/$1" 2>/dev/null) && is_init "$pid" && echo "$pid"
}

# in_node NODE COMMAND...: runs it there, with nothing of this process but its streams.
in_node() {
  local pid
  pid=$(node_pid "$1") || return 125
  nsenter -t "$pid" -m -u -i -n -p -- env SLURM_CONF=/run/testbed/slurm.conf "${@:2}" 9<&-
}

# in_network NODE COMMAND...: only the network is the node's: for tools that are no part of it.
in_network() {
  local pid
  pid=$(node_pid "$1") || return 125
  nsenter -t "$pid" -n -- "${@:2}" 9<&-
}

# require_name NODE: there is, or was, such a node.
require_name() {
  [[ $1 == ctl || $1 =~ ^n(0|[1-9][0-9]?)$ && ${1#n} -lt $nodes ]] ||
    refuse "there is no node '$1': there are ctl and n0 to n$((nodes - 1))" "testbed status"
}

# require_alive NODE: and it lives.
require_alive() {
  require_name "$1"
  node_pid "$1" >/dev/null || die "$1 is dead" "testbed hurt $1 heal"
}
