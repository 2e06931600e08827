#!/bin/bash
# The library exports exactly the symbols that symbols.txt lists. usage: symbols_test.sh LIBRARY LIST
set -euo pipefail
exported=$(nm -D --defined-only "$1" | awk '$2 == "T" {sub(/@.*/, "", $3); print $3}' | sort)
diff <(sort "$2") <(echo "$exported") || {
  echo "exported symbols (>) differ from the list (<): a removed one breaks users, a new one is a promise" >&2
  exit 1
}
