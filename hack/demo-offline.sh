#!/usr/bin/env bash
# Demonstrates verification with a TaskRun recorded from a cluster (docs/examples). It needs no cluster, no
# network and no kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/demo-lib.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH="$PWD/bin:$PATH"
cp docs/examples/{build.yaml,trust-bundle.json} "$work"
cd "$work"

# kubectl starts the plugin as kubectl does.
kubectl() {
  shift
  kubectl-tekton_sign "$@"
}

# verifies CODE FILE checks that verifying a file ends with this exit code.
verifies() { expect "$1" kubectl tekton-sign verify -f "$2" --trust-bundle trust-bundle.json --offline; }

# tampered NAME EDIT makes an edited copy of the TaskRun.
tampered() {
  sed "$2" build.yaml >"$1"
  if cmp -s build.yaml "$1"; then
    printf 'demo: the edit of %s changes nothing\n' "$1" >&2
    exit 1
  fi
}

chapter "A TaskRun from a file, its keys from a trust bundle, no network"
verifies 0 build.yaml

chapter "Somebody changes one byte of the image digest"
tampered one-byte-changed.yaml '/^status:/,$ s/^    value: sha256:2c26/    value: sha256:2c27/'
verifies 4 one-byte-changed.yaml

chapter "Somebody adds a result"
tampered result-added.yaml '/^  results:/a\  - name: APPROVED_BY\n    type: string\n    value: security'
verifies 4 result-added.yaml

chapter "Somebody passes it off as another TaskRun"
tampered uid-changed.yaml 's/^  uid: .*/  uid: 6340374f-3a88-4ff2-812e-c155a2d8e142/'
verifies 4 uid-changed.yaml
