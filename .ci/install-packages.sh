#!/bin/bash
# Installs the Debian packages of the given sections of api/packages.txt that are not there yet.
# Services that come with them are neither started now nor at the next boot; those of packages that
# were there before are not touched.
set -euo pipefail
list="$(dirname "$0")/../api/packages.txt"
wanted=()
for section in "$@"; do
  mapfile -t -O "${#wanted[@]}" wanted < <(
    awk -v section="[$section]" '/^\[/ {on = ($1 == section); next} on && !/^#/ && NF {print $1}' "$list")
done
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "lockstep: no apt-get here; install what corresponds to: ${missing[*]}" >&2
  exit 1
fi
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)

# Debian asks this file before it starts a service. One that is there is the machine's own decision.
policy=/usr/sbin/policy-rc.d
own_policy=
log=$(mktemp)
tidy_up() {
  rm -f "$log"
  [ -z "$own_policy" ] || "${sudo[@]}" rm -f "$policy"
}
trap tidy_up EXIT
if [ ! -e "$policy" ]; then
  own_policy=1
  # Only what is new must not start: others may have to be restarted, e.g. after an upgrade.
  # shellcheck disable=SC2016 # for the shell that runs it
  printf '%s\n' '#!/bin/sh' '# Made by lockstep while it installs packages.' \
    "case ' ${missing[*]} ' in" '*" $1 "*) exit 101 ;;' 'esac' 'exit 0' |
    "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod 755 "$policy"
fi

echo "lockstep: installing ${#missing[@]} packages: ${missing[*]}"
# env: sudo does not pass the variables of its caller on.
apt_get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
if ! "${apt_get[@]}" update >"$log" 2>&1 ||
  ! "${apt_get[@]}" install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi

[ -d /run/systemd/system ] || exit 0
for package in "${missing[@]}"; do
  dpkg-query -L "$package" | sed -n 's,^.*/systemd/system/\([^/]*\.service\)$,\1,p' |
    while read -r unit; do
      "${sudo[@]}" systemctl disable --quiet "$unit" ||
        echo "lockstep: $unit will start at the next boot" >&2
    done
done
