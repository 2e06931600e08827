# `testbed hurt`: what can happen to a node of a cluster, on demand, and the way back.
# shellcheck shell=bash

help_hurt() {
  cat <<'END'
Usage: testbed hurt NODE HOW

  stop       ends the node's slurmd; its tasks go on
  freeze     stops all its processes without ending them: a node that hangs
  kill       ends all of it at once: a power failure
  cut        takes its link down: a pulled cable
  loss P     drops P percent of the packets that arrive at the node, e.g. 5 or 0.5; 0 ends it
  rate R     limits its link in both directions, e.g. 100mbit
  delay T    delays what it sends, e.g. 2ms; needs the kernel's netem. Replaces rate
  heal       undoes all of these and waits until Slurm uses the node
END
}

testbed_hurt() {
  case ${1:-} in -h | --help) help_hurt && return ;; esac
  [ $# -ge 2 ] || refuse "hurt whom, and how?" "testbed hurt --help"
  require_up
  local node=$1 how=$2
  shift 2
  [ "$node" != ctl ] || refuse "ctl joins all nodes and cannot be hurt" "testbed down"
  require_name "$node"
  [ "$how" = heal ] || require_alive "$node"
  case $how in
    stop | freeze | kill | cut | heal)
      [ $# -eq 0 ] || refuse "$how takes nothing more" "testbed hurt --help" ;;
    loss | rate | delay)
      [ $# -eq 1 ] || refuse "$how needs one value" "testbed hurt --help" ;;
    *) refuse "there is no way '$how' to hurt a node" "testbed hurt --help" ;;
  esac
  lock_state
  "hurt_$how" "$node" "$@"
}

hurt_stop() {
  local pid
  pid=$(daemon_pid "$1" slurmd) || die "no slurmd runs on $1" "testbed hurt $1 heal"
  in_node "$1" kill -TERM "$pid"
  local try
  for ((try = 0; try < 200; try++)); do
    daemon_pid "$1" slurmd >/dev/null || return 0
    sleep 0.05
  done
  die "slurmd on $1 does not end" "testbed hurt $1 kill"
}

# -1 is every process of the node but process 1 and the sender.
hurt_freeze() { in_node "$1" sh -c 'kill -STOP -1'; }

# First the link: without power nobody says goodbye.
hurt_kill() {
  local pid try
  pid=$(node_pid "$1")
  hurt_cut "$1"
  kill -KILL "$pid"
  for ((try = 0; try < 200; try++)); do
    ! has_ended "$pid" || return 0
    sleep 0.05
  done
  die "the kernel does not end $1" "ps -o pid,stat,wchan,args -p $pid"
}

hurt_cut() { in_network "$1" ip link set eth0 down; }

hurt_loss() {
  [[ $2 =~ ^(100|[0-9]{1,2})(\.[0-9])?$ ]] ||
    refuse "loss $2: expected percent, e.g. 5 or 0.5" "testbed hurt --help"
  command -v nft >/dev/null ||
    die "packets are dropped by nft, which is not installed" "apt-get install nftables"
  local per_mille=${2/./}
  [[ $2 == *.* ]] || per_mille=${2}0
  stop_loss "$1"
  [ "$((10#$per_mille))" -ne 0 ] || return 0
  in_network "$1" nft -f - <<END ||
table netdev lockstep {
  chain arriving {
    type filter hook ingress device eth0 priority 0;
    numgen random mod 1000 < $((10#$per_mille)) counter drop
  }
}
END
    die "this kernel's nf_tables cannot drop at random; nft says why above"
}

stop_loss() { in_network "$1" nft delete table netdev lockstep 2>/dev/null || true; }

# The node's own end limits what it sends, the bridge's end what it is sent.
hurt_rate() {
  local limit=(tbf rate "$2" burst 16kb latency 50ms)
  if ! in_network "$1" tc qdisc replace dev eth0 root "${limit[@]}" ||
    ! in_network ctl tc qdisc replace dev "$(link_name "$1")" root "${limit[@]}"; then
    die "tc cannot limit the rate to $2; it says why above (needs the kernel's sch_tbf)" \
      "testbed hurt $1 rate 100mbit"
  fi
}

hurt_delay() {
  in_network "$1" tc qdisc replace dev eth0 root netem delay "$2" ||
    die "tc cannot delay by $2; it says why above (needs the kernel's sch_netem)" \
      "modprobe sch_netem, or testbed hurt $1 rate 10mbit"
}

hurt_heal() {
  if ! node_pid "$1" >/dev/null; then
    start_node "$1"
    wait_for_node "$1"
    link_node "$1"
  fi
  in_node "$1" sh -c 'kill -CONT -1' || true
  ! command -v nft >/dev/null || stop_loss "$1"
  in_network "$1" tc qdisc del dev eth0 root 2>/dev/null || true
  in_network ctl tc qdisc del dev "$(link_name "$1")" root 2>/dev/null || true
  in_network "$1" ip link set eth0 up
  daemon_pid "$1" slurmd >/dev/null || start_slurmd "$1"
  wait_until_answers "$1"
  wait_until_usable "$1"
}
