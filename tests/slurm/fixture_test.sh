#!/bin/bash
# Brings the testbed of the other tests up or down. Usage: fixture_test.sh up|down TESTBED [SHARED]
set -euo pipefail
case_name=$1 testbed=$2 here=$PWD
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
skip_without_testbed
if [ "$case_name" = down ]; then
  "$testbed" down
  [ ! -e "$LOCKSTEP_TESTBED_DIR" ] || fail "there are files left in $LOCKSTEP_TESTBED_DIR"
else
  "$testbed" up --nodes 4 --cpus 16 --switches 2,2 --share "$3"
  "$testbed" status
  "$testbed" up # and again, which is nothing to do
fi
