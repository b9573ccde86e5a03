#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, each for the time given (default 10m). An input that is new is made
# smaller for a second: for the minute that go test takes by default, nothing else is tried.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10m}
targets=$(git grep -hoE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | wc -l)
n=0
for dir in $(git grep -lE '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do
  for target in $(go test -list '^Fuzz' "./$dir" | grep '^Fuzz'); do
    n=$((n + 1))
    echo "fuzz $n of $targets: $dir $target for $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1s "./$dir"
  done
done
test "$n" -eq "$targets" || { echo "ran $n of $targets fuzz targets" >&2; exit 1; }
