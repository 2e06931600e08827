# `testbed exec`: runs a command on a node, as if one had logged in there.
# shellcheck shell=bash

help_exec() {
  cat <<'END'
Usage: testbed exec NODE COMMAND [ARGUMENTS]

Runs it on ctl (where srun, sbatch and squeue belong) or on n0, n1, ..., in the current folder, with
the current environment without what an outer job has put into it. Its exit status is the command's.

  testbed exec ctl srun --mpi=pmix -N4 -n8 ./program
  testbed exec n2 bash
END
}

testbed_exec() {
  case ${1:-} in
    -h | --help) help_exec && return ;;
    "") refuse "on which node?" "testbed exec --help" ;;
  esac
  require_up
  local node=$1 pid name
  shift
  require_alive "$node"
  [ $# -gt 0 ] || refuse "which command?" "testbed exec --help"
  pid=$(node_pid "$node")
  # A job that this is started in is not one of the testbed's; its /tmp is not a node's either.
  local outer='^(SLURM|SLURMD|SRUN|SBATCH|SALLOC|SQUEUE|PMI|PMIX|PMI2|OMPI|PRTE)_'
  for name in $(compgen -e); do
    [[ ! $name =~ $outer ]] || unset "$name"
  done
  unset TMPDIR LOCKSTEP_TESTBED_DIR
  export SLURM_CONF=/run/testbed/slurm.conf PATH
  # If the caller is killed, e.g. by timeout(1), the command must not go on by itself.
  # shellcheck disable=SC2016 # for the node's shell
  exec nsenter -t "$pid" -m -u -i -n -p -- bash -c '
    node=$0 folder=$1
    shift
    cd "$folder" 2>/dev/null || {
      cd /
      echo "testbed: $folder is not seen on $node, so this is /" >&2
      echo "testbed: type: testbed up --share $folder" >&2
    }
    exec setpriv --pdeathsig TERM -- "$@"' "$node" "$PWD" "$@"
}
