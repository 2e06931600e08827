# Makes nodes and joins them: namespaces, a bridge in the controller's network, a link to each node.
# Nothing is made in the network of the machine itself.
# shellcheck shell=bash

# start_node NODE: returns at once; wait_for_node tells whether it has worked.
start_node() {
  rm -f "$dir/pid/$1"
  # shellcheck disable=SC2086 # a list
  setsid unshare --net --uts --mount --ipc --pid --fork --kill-child --propagation private \
    bash "$init_script" "$dir" "$1" "${shared[@]}" </dev/null >"$dir/log/init-$1" 2>&1 9<&- &
  disown
}

wait_for_node() {
  local try
  for ((try = 0; try < 500; try++)); do
    ! node_pid "$1" >/dev/null || return 0
    sleep 0.02
  done
  show_log "init-$1"
  die "node $1 did not start"
}

# The controller's network has the bridge; it ends with the controller.
make_bridge() {
  in_network ctl sh -ec "
    ip link set lo up
    ip link add br0 type bridge
    ip addr add $ctl_address/15 dev br0
    ip link set br0 up" || die "cannot make the bridge"
}

link_name() { echo "lockstep-$1"; }

# link_node NODE: eth0 there, lockstep-NODE on the bridge.
link_node() {
  local pid link
  pid=$(node_pid "$1")
  link=$(link_name "$1")
  # The link of a node that was killed ends a little later than the node.
  in_network ctl sh -c "ip link del $link 2>/dev/null" || true
  in_network ctl sh -ec "
    ip link add $link type veth peer name eth0 netns $pid
    ip link set $link master br0 up" || die "cannot link $1"
  in_network "$1" sh -ec "
    ip link set lo up
    ip addr add $(address_of "$1")/15 dev eth0
    ip link set eth0 up" || die "cannot give $1 its address"
}
