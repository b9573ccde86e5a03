#!/usr/bin/env bash
# Records docs/examples from the lab: a signed TaskRun as the API server stores it, and the cluster's trust bundle.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
namespace=tekton-sign-examples
eval "$(lab env)"
kubectl tekton-sign enable oidc-sa-token --yes
kubectl create namespace "$namespace"
trap 'kubectl delete namespace "$namespace" --wait=false' EXIT
until kubectl get rolebinding -n "$namespace" tekton-sign-token-requester >/dev/null 2>&1; do sleep 0.5; done
kubectl create -n "$namespace" -f docs/examples/taskrun-build.yaml
kubectl wait -n "$namespace" taskrun/build --for=condition=Succeeded --timeout=180s
# The add-on records a TaskRun soon after it has ended. From then on, a file of it proves whose pod signed.
until kubectl get -n "$namespace" taskrun/build -o yaml | grep -q tekton-sign.dev/record; do sleep 0.5; done
kubectl get -n "$namespace" taskrun/build -o yaml >docs/examples/build.yaml
kubectl tekton-sign trust export --cluster-name example >docs/examples/trust-bundle.json
kubectl tekton-sign verify -f docs/examples/build.yaml --trust-bundle docs/examples/trust-bundle.json
kubectl tekton-sign disable --purge --yes
