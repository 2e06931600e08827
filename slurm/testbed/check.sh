# Can this machine hold a testbed? Says what is missing and what to type.
# shellcheck shell=bash

help_check() {
  cat <<'END'
Usage: testbed check

Says whether a testbed can be made here: root, packages, kernel. Exit status 0 if so; else 1, and
what to type is on stderr.
END
}

testbed_check() {
  case ${1:-} in
    "") ;;
    -h | --help) help_check && return ;;
    *) refuse "check takes no arguments" "testbed check --help" ;;
  esac
  require_machine
}

require_machine() {
  require_root
  local command missing=()
  for command in slurmctld slurmd srun sinfo munged ip tc unshare nsenter setpriv flock; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  [ "${#missing[@]}" -eq 0 ] ||
    die "not installed here: ${missing[*]}" "bash $source_tree/.ci/install-packages.sh slurm"
  require_kernel
}

# All that a node needs of the kernel, in namespaces that end with the probe.
require_kernel() {
  local error
  error=$(unshare --net --uts --mount --ipc --pid --fork --propagation private sh -ec '
    mount -t tmpfs none /tmp
    mount -t proc proc /proc
    ip link add probe type bridge
    ip link add probe0 type veth peer name probe1' 2>&1 9<&-) && return
  say "this kernel, or the container this runs in, does not let root make a node:"
  say "$error"
  die "namespaces, tmpfs, bridge and veth are needed" \
    "docker run --privileged ... (in Docker; elsewhere: modprobe bridge veth)"
}
