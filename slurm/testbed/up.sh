# `testbed up`: makes the cluster, or finds that it is there.
# shellcheck shell=bash

help_up() {
  cat <<'END'
Usage: testbed up [--nodes K] [--cpus C] [--switches S|LIST] [--share DIR]... [--plugstack FILE]

  --nodes K        nodes n0 ... beside the controller ctl (default 4)
  --cpus C         CPUs that each claims, whatever the machine has (default 16)
  --switches S     leaf switches that the nodes are spread over (default 2)
  --switches LIST  nodes on each leaf switch, e.g. 3,1
  --share DIR      a folder below /tmp or /run that all nodes see; may be given again. Everything
                   outside /tmp, /run and /dev/shm is seen by all, and this source tree is
  --plugstack FILE its lines are Slurm's plugstack.conf: plugins of srun and slurmstepd (SPANK).
                   What they name must be seen by all nodes

If it is up in this form, or in any form and there are no options, nothing is done; if it is up in
another form or is damaged, it is made anew.
END
}

testbed_up() {
  nodes=4 cpus=16 switches='' shared=() plugstack=
  local given=$#
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) help_up && return ;;
      --nodes | --cpus | --switches | --share | --plugstack)
        [ $# -ge 2 ] || refuse "$1 needs a value" "testbed up --help"
        case $1 in
          --nodes) number nodes "$1" "$2" "$max_nodes" ;;
          --cpus) number cpus "$1" "$2" 1024 ;;
          --switches) switches=$2 ;;
          --share) share "$2" ;;
          --plugstack) read_plugstack "$2" ;;
        esac
        shift 2 ;;
      *) refuse "up does not know '$1'" "testbed up --help" ;;
    esac
  done
  spread_over_switches "$switches"
  share "$source_tree"
  require_machine
  make_state_folder
  if is_ours && is_up_as_wanted "$given"; then
    say "is up already"
    return
  fi
  build
}

# number VARIABLE OPTION TEXT MOST
number() {
  if ! [[ $3 =~ ^[1-9][0-9]{0,4}$ ]] || [ "$3" -gt "$4" ]; then
    refuse "$2 $3: expected a number from 1 to $4" "testbed up --help"
  fi
  printf -v "$1" %d "$3"
}

# spread_over_switches TEXT: sets leaves, how many nodes each leaf switch has, in order.
spread_over_switches() {
  local text=$1 i size count sum=0 sizes=()
  if [[ $text == *,* ]]; then
    for size in ${text//,/ }; do
      number size --switches "$size" "$nodes"
      sizes+=("$size")
      sum=$((sum + size))
    done
    [ "$sum" -eq "$nodes" ] ||
      refuse "--switches $text has places for $sum nodes, but there are $nodes" "testbed up --help"
  else
    number count --switches "${text:-$((nodes < 2 ? 1 : 2))}" "$nodes"
    for ((i = 0; i < count; i++)); do sizes+=($((nodes / count + (i < nodes % count)))); done
  fi
  leaves=${sizes[*]}
}

# share DIR: to be seen in all nodes, once.
share() {
  local folder other
  [ -d "$1" ] || refuse "--share $1: there is no such folder" "testbed up --help"
  folder=$(realpath -e "$1")
  case $folder in
    / | /tmp | /run | /dev | /dev/shm | /dev/shm/*)
      refuse "--share $folder: nodes have that for themselves; name a folder below /tmp or /run" \
        "testbed up --help" ;;
    /tmp/* | /run/*) ;;
    *) return 0 ;; # is seen anyway
  esac
  for other in "${shared[@]}"; do [ "$other" != "$folder" ] || return 0; done
  shared+=("$folder")
}

# read_plugstack FILE: as it is now. It is part of the form, so that another one is another testbed.
read_plugstack() {
  [ -f "$1" ] && [ -r "$1" ] ||
    refuse "--plugstack $1: there is no such file" "testbed up --help"
  plugstack=$(cat "$1")
}

make_state_folder() {
  # Goes only if it is empty, that is, if this ends before anything was made in it.
  trap 'rmdir "$dir" 2>/dev/null || true' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir -m 0711 "$dir" 2>/dev/null || true
  if [ ! -d "$dir" ] || [ -L "$dir" ] || [ ! -O "$dir" ]; then
    die "$dir is not a folder of root's, or cannot be made" "LOCKSTEP_TESTBED_DIR=DIR testbed up"
  fi
  lock_state
  is_ours || [ -z "$(ls -A "$dir")" ] ||
    die "$dir has files that are not a testbed's" "LOCKSTEP_TESTBED_DIR=DIR testbed up"
}

write_shape() {
  echo "nodes=$nodes cpus=$cpus leaves='$leaves'"
  echo "shared=($([ "${#shared[@]}" -eq 0 ] || printf '%q ' "${shared[@]}"))"
  printf 'plugstack=%q\n' "$plugstack"
}

is_up_as_wanted() {
  local wanted
  wanted=$(write_shape)
  if [ "$1" -gt 0 ] && [ "$wanted" != "$(cat "$dir/shape")" ]; then
    say "is up in another form; making it anew"
    return 1
  fi
  # In a subshell: what is wanted stays as it is if this is not what is there.
  (load_shape && is_healthy) && return
  say "is damaged; making it anew"
  return 1
}

is_healthy() {
  local node
  for node in ctl $(node_names); do node_pid "$node" >/dev/null || return 1; done
  [ "$(usable_nodes)" -eq "$nodes" ]
}

# All or nothing: whatever stops this takes down what there is by then.
build() {
  local start=$EPOCHREALTIME node
  trap 'end_processes; rm -rf --one-file-system "$dir"' EXIT
  end_processes
  find "$dir" -mindepth 1 -delete
  write_shape >"$dir/shape"
  mkdir "$dir/pid" "$dir/log"
  write_config
  for node in ctl $(node_names); do start_node "$node"; done
  for node in ctl $(node_names); do wait_for_node "$node"; done
  make_bridge
  for node in $(node_names); do link_node "$node"; done
  start_munge
  start_controller
  for node in $(node_names); do start_slurmd "$node"; done
  wait_until_usable
  trap - EXIT INT TERM HUP
  say "is up: $nodes nodes with $cpus CPUs, $(milliseconds_since "$start") ms"
  say "try: testbed exec ctl srun -N$nodes hostname"
}

milliseconds_since() { echo $(((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 1000)); }
