# Starts the daemons and waits for them; if one fails, shows why.
# shellcheck shell=bash

show_log() {
  [ -s "$dir/log/$1" ] || return 0
  say "the end of its log:"
  tail -n 15 "$dir/log/$1" >&2
}

# start_daemon NODE LOG COMMAND...: for commands that return when the daemon runs on its own.
start_daemon() {
  local node=$1 log=$2 status=0
  shift 2
  in_node "$node" "$@" </dev/null >>"$dir/log/out-$log" 2>&1 || status=$?
  [ "$status" -ne 0 ] || return 0
  cat "$dir/log/out-$log" >&2
  show_log "$log"
  die "$1 did not start on $node (exit status $status)"
}

start_munge() {
  start_daemon ctl munged munged --key-file=/run/testbed/munge.key \
    --socket=/run/testbed/munge.socket --pid-file=/run/munged.pid \
    --log-file=/run/testbed/log/munged --seed-file=/run/munged.seed
}

start_controller() { start_daemon ctl slurmctld slurmctld -i; }
start_slurmd() { start_daemon "$1" "slurmd-$1" slurmd -N "$1"; }

# daemon_pid NODE DAEMON: its number inside the node; fails if it does not run.
daemon_pid() {
  # shellcheck disable=SC2016 # for the node's shell
  in_node "$1" sh -c '
    read -r pid </run/$0.pid && read -r name </proc/$pid/comm &&
      [ "$name" = "$0" ] && echo "$pid"' \
    "$2" 2>/dev/null
}

# slurm_states: "NODE STATE" a line, as slurmctld sees them; nothing if it does not answer.
slurm_states() { in_node ctl timeout 10 sinfo -h -p shared -N -o '%N %t' 2>/dev/null || true; }

usable_nodes() { slurm_states | grep -cE ' (idle|mix|alloc|comp)$' || true; }

# wait_until_answers NODE: Slurm may still think well of a node whose daemon has only just begun.
wait_until_answers() {
  local try
  for ((try = 0; try < 100; try++)); do
    ! in_network ctl timeout 2 bash -c ": </dev/tcp/$(address_of "$1")/6818" 2>/dev/null || return 0
    sleep 0.1
  done
  show_log "slurmd-$1"
  die "slurmd on $1 does not answer"
}

# wait_until_usable [NODE]: until Slurm would run jobs there, or on all nodes.
wait_until_usable() {
  local try node
  for ((try = 0; try < 300; try++)); do
    if [ -n "${1:-}" ]; then
      ! slurm_states | grep -qE "^$1 (idle|mix|alloc|comp)$" || return 0
    elif [ "$(usable_nodes)" -eq "$nodes" ]; then
      return 0
    fi
    if ((try % 10 == 9)); then
      daemon_pid ctl slurmctld >/dev/null || { show_log slurmctld; die "slurmctld ended"; }
      for node in ${1:-$(node_names)}; do
        daemon_pid "$node" slurmd >/dev/null ||
          { show_log "slurmd-$node"; die "slurmd on $node ended"; }
      done
    fi
    sleep 0.1
  done
  slurm_states >&2
  show_log slurmctld
  show_log "slurmd-${1:-n0}"
  die "Slurm does not use all nodes after 30 s"
}
