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
  local try=0 process left=() found
  while :; do
    mapfile -t found < <(our_processes)
    [ "${#found[@]}" -eq 0 ] || kill -KILL "${found[@]}" 2>/dev/null || true
    left+=("${found[@]}")
    for process in "${!left[@]}"; do
      ! has_ended "${left[process]}" || unset "left[process]"
    done
    [ "${#left[@]}" -gt 0 ] || return 0
    [ "$((++try))" -lt 600 ] ||
      die "the kernel does not end processes" \
        "ps -o pid,stat,wchan,args -p $(IFS=, && echo "${left[*]}")"
    sleep 0.05
  done
}
