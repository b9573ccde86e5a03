// SPDX-License-Identifier: Apache-2.0

package signing

// The annotations with which a controller vouches for the status of a TaskRun (TEP-0089, phase 2), in
// status.annotations.
const (
	StatusHash         = "tekton.dev/status-hash"     // what is signed
	StatusSignature    = "tekton.dev/status-hash-sig" // over the hash, as format v1 signs a value
	StatusCertificates = "tekton.dev/controller-svid" // PEM
	// StatusNotVerified exists, with any value, if somebody has changed the status since it was signed. It stays
	// for ever.
	StatusNotVerified = "tekton.dev/spire-verified"
)

// OwnStatusForm begins the hash in the add-on's own form. Tekton's form has only hex digits.
const OwnStatusForm = "v2."
