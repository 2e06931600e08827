# `testbed status`: what there is, and in what state.
# shellcheck shell=bash

help_status() {
  cat <<'END'
Usage: testbed status

Lists the nodes: process 1 as seen from outside, address, daemon, link, and what Slurm thinks.
Exit status 0 if all of them live, can be reached and are used by Slurm; else 1.
END
}

testbed_status() {
  case ${1:-} in
    "") ;;
    -h | --help) help_status && return ;;
    *) refuse "status takes no arguments" "testbed status --help" ;;
  esac
  if ! is_ours; then
    echo "is not up ($dir)"
    exit 1
  fi
  require_up
  local states node state table
  states=$(slurm_states)
  table=$(for node in ctl $(node_names); do
    state=$(sed -n "s/^$node //p" <<<"$states")
    printf '%-5s %-8s %-15s %-10s %-12s %s\n' "$node" "$(node_pid "$node" || echo dead)" \
      "$(address_of "$node")" "$(daemon_state "$node")" "$(link_state "$node")" "${state:--}"
  done)
  echo "$nodes nodes with $cpus CPUs in $dir; nodes on each leaf switch: $leaves"
  echo "NODE  PROCESS  ADDRESS         DAEMON     LINK         SLURM"
  echo "$table"
  # Slurm may still think well of a node that is lost.
  ! grep -qwE 'dead|none|frozen|cut' <<<"$table" || exit 1
  [ "$(usable_nodes)" -eq "$nodes" ] || exit 1
}

daemon_state() {
  local daemon=slurmd pid
  [ "$1" != ctl ] || daemon=slurmctld
  if ! pid=$(daemon_pid "$1" "$daemon"); then
    echo none
  elif in_node "$1" grep -q '^State:.T' "/proc/$pid/status"; then
    echo frozen
  else
    echo "$daemon"
  fi
}

# link_state NODE: up, cut, and what slows it down.
link_state() {
  local text marks=()
  [ "$1" != ctl ] || { echo bridge && return; }
  local show='ip link show eth0; tc qdisc show dev eth0; nft list tables'
  text=$(in_network "$1" sh -c "$show" 2>/dev/null || true)
  case $text in
    "") echo none && return ;;
    *",UP"*) marks+=(up) ;;
    *) marks+=(cut) ;;
  esac
  [[ $text != *"qdisc tbf"* ]] || marks+=(rate)
  [[ $text != *"qdisc netem"* ]] || marks+=(delay)
  [[ $text != *"table netdev lockstep"* ]] || marks+=(loss)
  (IFS=, && echo "${marks[*]}")
}
