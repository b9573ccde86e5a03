// SPDX-License-Identifier: Apache-2.0

// Package tekton holds names from the pods of Tekton v1.15.0 that Tekton does not export, or exports only in
// large packages. It imports almost nothing, so that the signer stays small. A test compares the names with
// Tekton's own code.
package tekton

import (
	"strings"
)

// Entrypoint is the command of every step's container.
const Entrypoint = "/tekton/bin/entrypoint"

// CompressedPrefix begins a compressed termination message: base64 of raw DEFLATE, without padding (Tekton's setting
// enable-termination-message-compression).
const CompressedPrefix = "tknz:"

// StepPrefix begins the name of a step's container.
const StepPrefix = "step-"

// ResultsSidecar is the name of the container that logs the values of results (results-from: sidecar-logs).
const ResultsSidecar = "sidecar-tekton-log-results"

// FeatureFlags is Tekton's ConfigMap with its switches, in the namespace of its controller.
const FeatureFlags = "feature-flags"

// SetFlag returns the command that sets one of Tekton's switches. They are never ours to change.
func SetFlag(namespace, flag, value string) string {
	return "kubectl patch configmap -n " + namespace + " " + FeatureFlags +
		` --type merge -p '{"data":{"` + flag + `":"` + value + `"}}'`
}

// StepContainer returns the name of a step's container.
func StepContainer(step string) string { return StepPrefix + step }

// IsStep reports whether a container is that of a step.
func IsStep(container string) bool {
	return strings.HasPrefix(container, StepPrefix)
}
