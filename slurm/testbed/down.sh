# `testbed down`: ends everything that `up` has started, and removes it.
# shellcheck shell=bash

help_down() {
  cat <<'END'
Usage: testbed down

Ends the testbed with all that runs in it and removes its folder. Does nothing if there is none.
END
}

testbed_down() {
  case ${1:-} in
    "") ;;
    -h | --help) help_down && return ;;
    *) refuse "down takes no arguments" "testbed down --help" ;;
  esac
  if [ ! -e "$dir" ]; then
    say "is not up"
    return
  fi
  require_root
  is_ours || die "$dir is not a testbed's; nothing is removed" "ls -la $dir"
  lock_state
  end_processes
  rm -rf --one-file-system "$dir"
  say "is down"
}

# With process 1 of a node the kernel ends all that is in it, and that ends its mounts and links.
end_processes() {
  local try left
  for ((try = 0; try < 600; try++)); do
    left=$(our_processes)
    [ -n "$left" ] || return 0
    # shellcheck disable=SC2086 # a list
    kill -KILL $left 2>/dev/null || true
    sleep 0.05
  done
  # shellcheck disable=SC2086
  die "the kernel does not end the processes" "ps -o pid,stat,wchan,args -p $(echo $left | tr ' ' ,)"
}
