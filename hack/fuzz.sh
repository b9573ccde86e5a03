#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, each for the time in the argument (default 10m).
# It minimizes a new input for one second only, because go test tries nothing else during its default minute.
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
