// SPDX-License-Identifier: Apache-2.0

// Package chains is the gate in front of Tekton Chains: what becomes of a TaskRun or PipelineRun that Chains
// must not sign before its results are verified. It decides and describes; it asks nobody and changes nothing
// itself.
//
// An unmodified Chains leaves an object alone whose annotation chains.tekton.dev/signed says that it is dealt
// with. The gate sets it, and takes it away when the results have been verified. docs/chains.md tells the
// whole story.
package chains

import "time"

// What the gate writes into the metadata of a TaskRun or PipelineRun.
const (
	// Hold is the annotation by which Chains knows what it has dealt with. Chains v0.26.0 skips an object where
	// it is "true" or "failed". The gate uses "failed": nobody takes that for a signature.
	Hold      = "chains.tekton.dev/signed"
	HoldValue = "failed"
	// Marker says that the hold is the gate's, and how it stands: the object's UID, a colon and a space, and a
	// State with, for people, the reason. The UID is given by the API server: nobody can write a marker into a
	// manifest, and the one that Tekton copies from a PipelineRun to its TaskRuns means nothing there.
	Marker = "tekton-sign.dev/chains"
	// Finalizer keeps a held object that is deleted until it was judged and, where it is good, attested.
	Finalizer = "tekton-sign.dev/chains"
)

// Patience is how long a completed object may wait for its verdict, or for Chains, before the gate lets it be
// deleted. DeletionPatience is how long, once somebody wants it to be: nobody tells whether Chains is there,
// and while it is, it answers within seconds.
const (
	Patience         = time.Hour
	DeletionPatience = 45 * time.Second
)

// State is how the gate stands to an object.
type State string

// The states.
const (
	None     State = ""         // the gate has not seen it
	Held     State = "held"     // Chains waits for the verdict
	Released State = "released" // Chains may sign
	Refused  State = "refused"  // Chains never signs
)

// chainsFinalizers are those of Chains itself, by kind. With its own in place, Chains sees an object before it is gone.
var chainsFinalizers = map[string]string{
	"TaskRun":     "chains.tekton.dev/taskrun",
	"PipelineRun": "chains.tekton.dev/pipelinerun",
}
