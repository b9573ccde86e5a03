// SPDX-License-Identifier: Apache-2.0

// Package tekton holds what Tekton v1.15.0 names in the pods of TaskRuns and exports nowhere, or only in packages that link
// much else. It imports nothing, so that the signer stays small. A test compares it with Tekton's own code.
package tekton

// Entrypoint is the command of every step's container.
const Entrypoint = "/tekton/bin/entrypoint"

// Folders in a step's container: Tekton's own, and what it mounts there.
const (
	Dir        = "/tekton"
	ResultsDir = "/tekton/results"
)

// CompressedPrefix begins a compressed termination message: base64 of raw DEFLATE, without padding (Tekton's setting
// enable-termination-message-compression).
const CompressedPrefix = "tknz:"

// Labels of pods and TaskRuns.
const (
	LabelTaskRun      = "tekton.dev/taskRun"
	LabelTaskRunUID   = "tekton.dev/taskRunUID"
	LabelPipelineRun  = "tekton.dev/pipelineRun"
	LabelPipelineTask = "tekton.dev/pipelineTask"
)

// StepPrefix begins the name of a step's container.
const StepPrefix = "step-"

// SidecarPrefix begins the name of a sidecar's container.
const SidecarPrefix = "sidecar-"

// StepContainer returns the name of a step's container.
func StepContainer(step string) string { return StepPrefix + step }

// IsStep reports whether a container is the one of a step.
func IsStep(container string) bool {
	return len(container) >= len(StepPrefix) && container[:len(StepPrefix)] == StepPrefix
}
