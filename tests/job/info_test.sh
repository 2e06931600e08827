#!/bin/bash
# What `lockstep info` says a process would get, under the launchers that are on any machine.
# Usage: info_test.sh LOCKSTEP [MPIRUN]
set -euo pipefail
lockstep=$1 mpirun=${2:-}
unset "${!LOCKSTEP_@}" "${!SLURM_@}" "${!PMIX_@}" "${!OMPI_@}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
  echo "FAILED: $*"
  cat "$log"
  exit 1
}
expect() { # CAPABILITY STATE PATTERN: in the one answer that the log has
  grep -qE "^   $1 +$2 +${3:-}" "$log" || fail "$1 is not $2: ${3:-}"
}

"$lockstep" info >"$log"
expect identity present 'a job of one'
expect bootstrap absent 'no PMIx server'
grep -q 'type: srun --mpi=pmix PROGRAM' "$log" || fail "it does not say what to type"
expect 'fault tolerance' absent 'there are no others'

LOCKSTEP_SIGNALS=TERM "$lockstep" run -n 1 "$lockstep" info >"$log"
expect identity present 'PMIx: rank 0 of job lockstep-'
expect bootstrap present '.*PMIx [0-9.]+.*, server [0-9]'
expect 'fault tolerance' degraded
grep -q 'type: lockstep run --keep-going' "$log" || fail "it does not say what to type"
expect notices degraded 'caught: SIGTERM; outside Slurm'

# It joins nobody: one rank that asks is not waited for by the other, nor the other way round.
# shellcheck disable=SC2016 # for the rank's shell
timeout 30 "$lockstep" run -n 2 --nodes 2 --switches 1,1 -- \
  bash -c 'if [ "$PMIX_RANK" = 1 ]; then exec "$0" info --json; fi' "$lockstep" >"$log" ||
  fail "the rank that is alone does not get its answer"
python3 - "$log" <<'END_OF_PYTHON' || fail "the JSON"
import json, sys
rows = {row["name"]: row for row in json.load(open(sys.argv[1]))["capabilities"]}
assert list(rows) == ["identity", "bootstrap", "fault tolerance", "time left", "notices",
                      "running again", "exits of others", "key of the step", "switches"], list(rows)
assert all(set(row) == {"name", "state", "why", "type"} for row in rows.values()), rows
assert rows["identity"]["why"].startswith("PMIx: rank 1 of job lockstep-"), rows["identity"]
assert rows["switches"]["state"] == "present" and "s1" in rows["switches"]["why"], rows["switches"]
END_OF_PYTHON

if [ -n "$mpirun" ] && ! "$mpirun" --allow-run-as-root -n 1 true >"$log" 2>&1; then
  echo "left out: mpirun cannot start anything here: $(grep -m1 '[a-z]' "$log")"
elif [ -n "$mpirun" ]; then
  "$mpirun" --allow-run-as-root -n 1 "$lockstep" info >"$log"
  expect identity present 'PMIx: rank 0 of job '
  expect bootstrap present
  expect 'fault tolerance' degraded
  grep -q 'unless MPI is in the program; mpirun$' "$log" || fail "mpirun is not known"
fi
echo "passed"
