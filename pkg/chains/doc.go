// SPDX-License-Identifier: Apache-2.0

// Package chains is the gate in front of Tekton Chains. It decides what to do with a TaskRun or PipelineRun
// that Chains must not sign before its results are verified. It only decides and describes changes; it sends
// no requests.
//
// An unmodified Chains ignores an object if the annotation chains.tekton.dev/signed marks it as done. The
// gate sets this annotation, and removes it after the results have been verified. See docs/chains.md.
package chains

import "time"

// What the gate writes into the metadata of a TaskRun or PipelineRun.
const (
	// Hold is the annotation with which Chains marks objects as done. Chains v0.26.0 skips an object if it is
	// "true" or "failed". The gate uses "failed", which does not look like a signature.
	Hold      = "chains.tekton.dev/signed"
	HoldValue = "failed"
	// Marker marks the hold as the gate's and holds its state: the object's UID, a colon and a space, and a
	// State with the reason for people. The API server assigns the UID, so that a manifest cannot contain a
	// valid marker, and a marker that Tekton copies from a PipelineRun to its TaskRuns has no effect there.
	Marker = "tekton-sign.dev/chains"
	// Finalizer keeps a held object that is being deleted until it is judged and, if it is good, attested.
	Finalizer = "tekton-sign.dev/chains"
)

// Patience is how long a completed object may wait for its verdict, or for Chains, before the gate allows its
// deletion. DeletionPatience is the same after a request to delete it. It is short because the gate cannot
// know whether Chains is installed, and a running Chains acts within seconds.
const (
	Patience         = time.Hour
	DeletionPatience = 45 * time.Second
)

// State is the gate's state for an object.
type State string

// The states.
const (
	None     State = ""         // the gate has not seen it
	Held     State = "held"     // Chains waits for the verdict
	Released State = "released" // Chains may sign
	Refused  State = "refused"  // Chains never signs
)

// chainsFinalizers are the finalizers of Chains itself, by kind. An object with one of them does not go
// before Chains sees it.
var chainsFinalizers = map[string]string{
	"TaskRun":     "chains.tekton.dev/taskrun",
	"PipelineRun": "chains.tekton.dev/pipelinerun",
}
