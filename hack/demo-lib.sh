# Functions that the demo and the recording of its example share: they show commands and check their outcomes.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }

# shown prints a command as an operator would type it.
shown() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; }

# run shows a command and runs it; it must succeed.
run() { shown "$@"; "$@"; }

# expect CODE COMMAND... shows a command, runs it, and expects that exit code.
expect() {
  local want=$1 got=0
  shift
  shown "$@"
  "$@" || got=$?
  if [ "$got" != "$want" ]; then
    printf 'demo: expected exit code %s, got %s\n' "$want" "$got" >&2
    exit 1
  fi
  printf '%s(exit code %s)%s\n' "$dim" "$got" "$plain"
}

# position FILE RESULT prints the position of a result in a TaskRun's status.
position() {
  kubectl patch --local -f "$1" --type=json -p '[]' -o jsonpath='{range .status.results[*]}{.name}{"\n"}{end}' |
    awk -v name="$2" '$0 == name { print NR - 1; found = 1 } END { exit !found }'
}

# tampered NAME FILE PATCH writes a copy of a TaskRun with a JSON patch applied and prints its name.
tampered() {
  kubectl patch --local -f "$2" --type=json -p "$3" -o yaml >"$1.yaml"
  printf '%s\n' "$1.yaml"
}

# show_tampering FILE BUNDLE verifies a TaskRun offline, then four changed copies.
show_tampering() {
  local file=$1 bundle=$2 digest tags
  digest=$(position "$file" IMAGE_DIGEST)
  tags=$(position "$file" TAGS)

  chapter "Offline: the file and a trust bundle are enough"
  expect 0 kubectl tekton-sign verify -f "$file" --trust-bundle "$bundle"

  chapter "Somebody changes one byte of the image digest"
  expect 4 kubectl tekton-sign verify --trust-bundle "$bundle" -f "$(tampered one-byte-changed "$file" \
    "[{\"op\":\"replace\",\"path\":\"/status/results/$digest/value\",\"value\":\"sha256:2c27b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"}]")"

  chapter "Somebody swaps two results"
  expect 4 kubectl tekton-sign verify --trust-bundle "$bundle" -f "$(tampered two-results-swapped "$file" \
    "[{\"op\":\"copy\",\"from\":\"/status/results/$digest/value\",\"path\":\"/status/swap\"},
      {\"op\":\"copy\",\"from\":\"/status/results/$tags/value\",\"path\":\"/status/results/$digest/value\"},
      {\"op\":\"move\",\"from\":\"/status/swap\",\"path\":\"/status/results/$tags/value\"},
      {\"op\":\"replace\",\"path\":\"/status/results/$digest/type\",\"value\":\"array\"},
      {\"op\":\"replace\",\"path\":\"/status/results/$tags/type\",\"value\":\"string\"}]")"

  chapter "Somebody adds a result"
  expect 4 kubectl tekton-sign verify --trust-bundle "$bundle" -f "$(tampered result-added "$file" \
    '[{"op":"add","path":"/status/results/-","value":{"name":"APPROVED_BY","type":"string","value":"security"}}]')"

  chapter "Somebody passes it off as another TaskRun"
  expect 4 kubectl tekton-sign verify --trust-bundle "$bundle" -f "$(tampered uid-changed "$file" \
    '[{"op":"replace","path":"/metadata/uid","value":"6340374f-3a88-4ff2-812e-c155a2d8e142"}]')"
}
