#!/usr/bin/env bash
# Demonstrates everything on a real cluster: enable signing, run a TaskRun, verify it, tamper with copies, disable again.
# hack/demo-offline.sh runs first, because making the cluster takes time on a new machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/demo-lib.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH="$PWD/bin:$PATH"
examples=$PWD/docs/examples
namespace=tekton-sign-demo

# inventory lists every object of the cluster, except those that a cluster changes by itself.
inventory() {
  kubectl api-resources --verbs=list -o name |
    grep -vE '^(events|leases|endpoints|endpointslices|pods|replicasets|componentstatuses)(\.|$)' |
    paste -sd, | xargs -I{} kubectl get {} -A -o \
    'jsonpath={range .items[*]}{.kind}{" "}{.metadata.namespace}{"/"}{.metadata.name}{"\n"}{end}' 2>/dev/null | sort
}

if ! lab check; then
  say "The lab does not run here. You have seen the verifying half, on a recorded TaskRun."
  exit 0
fi

chapter "The whole story needs a real cluster with stock Tekton"
say "You have seen the verifying half, on a recorded TaskRun. Now a real cluster is made on this machine."
say "Step 1 of 3: compile Kubernetes and Tekton. Only the first time: about a quarter of an hour on two cores."
lab build
say "Step 2 of 3: start the cluster. About 20 seconds."
make --no-print-directory --silent lab-up
say "Step 3 of 3: load the add-on and the signer. About 10 seconds."
make --no-print-directory --silent lab-load
say "The cluster is ready. The rest takes about a minute."
eval "$(lab env)"
cd "$work"
run kubectl get nodes,deployments -A
inventory >before

chapter "One command turns signing on"
run kubectl tekton-sign enable oidc-sa-token --yes

chapter "A TaskRun with two steps and three results"
run kubectl create namespace "$namespace"
until kubectl get rolebinding -n "$namespace" tekton-sign-token-requester >/dev/null 2>&1; do sleep 0.5; done
run kubectl create -n "$namespace" -f "$examples/taskrun-build.yaml"
run kubectl wait -n "$namespace" taskrun/build --for=condition=Succeeded --timeout=180s
run kubectl get -n "$namespace" taskrun/build -o \
  'jsonpath={range .status.conditions[*]}{.type}{"="}{.status}{" "}{.reason}{"\n"}{end}'

chapter "Verified, live"
expect 0 kubectl tekton-sign verify taskrun/build -n "$namespace" -v

# The add-on records a TaskRun soon after it has ended. From then on, a file of it proves whose pod signed.
until kubectl get -n "$namespace" taskrun/build -o yaml | grep -q tekton-sign.dev/record; do sleep 0.5; done
kubectl get -n "$namespace" taskrun/build -o yaml >build.yaml
kubectl tekton-sign trust export >trust-bundle.json
show_tampering build.yaml trust-bundle.json

chapter "Off again, and nothing is left"
run kubectl delete namespace "$namespace" --wait
run kubectl tekton-sign disable --purge --yes
inventory >after
if ! diff before after; then
  echo "demo: the cluster is not as it was before" >&2
  exit 1
fi
say "The cluster has the same $(wc -l <after | tr -d ' ') objects as before."
say "It is still up: eval \"\$(bin/lab env)\" to use it, make lab-down to end it."
