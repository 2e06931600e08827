#!/bin/bash
# What the testbed cannot or must not do it says, with what to type, and it has then done nothing.
# Usage: refusals_test.sh TESTBED
set -euo pipefail
testbed=$1
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
make_folder
export LOCKSTEP_TESTBED_DIR=$here/testbed
trap '"$testbed" down >/dev/null 2>&1; remove_folder' EXIT

# refused STATUS PATTERN ARGUMENTS...
refused() {
  local status=$1 pattern=$2
  shift 2
  rc=0
  "$testbed" "$@" >run.log 2>&1 || rc=$?
  expect_status "$status"
  expect_lines 1 "^testbed: .*$pattern"
  expect_lines 1 '^testbed: type: '
  expect_lines 0 'failed in'
}

refused 2 "no command 'fly'" fly
refused 2 "up does not know '--wings'" up --wings
refused 2 '--nodes 0: expected a number from 1 to 64' up --nodes 0
refused 2 '--nodes needs a value' up --nodes
refused 2 '--switches 3,3 has places for 6 nodes, but there are 4' up --switches 3,3
refused 2 '--share /nowhere: there is no such folder' up --share /nowhere
refused 2 '--share /tmp: nodes have that for themselves' up --share /tmp
refused 2 '--plugstack /nowhere: there is no such file' up --plugstack /nowhere
refused 1 "there is no testbed in $LOCKSTEP_TESTBED_DIR" exec ctl true
refused 1 "there is no testbed in $LOCKSTEP_TESTBED_DIR" hurt n0 cut
[ ! -e "$LOCKSTEP_TESTBED_DIR" ] || fail "something was made"

# A folder of somebody's files is not taken, and above all not removed.
mkdir "$LOCKSTEP_TESTBED_DIR"
echo precious >"$LOCKSTEP_TESTBED_DIR/file"
refused 1 "has files that are not a testbed's" up
refused 1 "is not a testbed's; nothing is removed" down
[ "$(cat "$LOCKSTEP_TESTBED_DIR/file")" = precious ] || fail "the file is lost"
rm -r "$LOCKSTEP_TESTBED_DIR"

# Packages that are not there: a PATH with everything but Slurm.
mkdir bin
for tool in bash sh cat readlink dirname realpath id mkdir flock ip tc unshare nsenter setpriv; do
  cp "$(PATH=$PATH:/usr/sbin:/sbin command -v "$tool")" bin/
done
rc=0
# PATH:/usr/sbin:/sbin is what the testbed adds; a mount of its own hides those.
unshare --mount bash -c 'mount -t tmpfs none /usr/sbin && PATH=$0 exec "$@"' \
  "$here/bin" "$testbed" up >run.log 2>&1 || rc=$?
expect_status 1
expect_lines 1 '^testbed: not installed here: slurmctld slurmd srun sinfo munged$'
expect_lines 1 '^testbed: type: bash .*/\.ci/install-packages.sh slurm$'

# One node, one switch; what does not live is told; then a daemon that cannot start shows its log.
"$testbed" up --nodes 1
refused 2 "no node 'n1'" exec n1 true
refused 2 "no node 'n9'" hurt n9 heal
refused 2 'ctl joins all nodes' hurt ctl kill
refused 2 "no way 'tickle'" hurt n0 tickle
refused 2 'loss 200: expected percent' hurt n0 loss 200
refused 1 'cannot limit the rate to much' hurt n0 rate much
"$testbed" hurt n0 kill
refused 1 'n0 is dead' exec n0 true
echo 'Nonsense=1' >>"$LOCKSTEP_TESTBED_DIR/slurm.conf"
rc=0
"$testbed" hurt n0 heal >run.log 2>&1 || rc=$?
expect_status 1
expect_lines 1 'unrecognized key: Nonsense'
expect_lines 1 '^testbed: slurmd did not start on n0'
echo "passed: refusals"
