// SPDX-License-Identifier: Apache-2.0

// Package evidence parses the evidence of TaskRuns for people and for other tools: it decodes the carriers,
// shows the statement that a verifier rebuilds, and exports signed statements in the forms of
// [ExportFormats]. It verifies nothing: no signature, no certificate chain and no token, and
// it compares no digests. It returns strings as they are: escape them before you show them to a person.
package evidence

import (
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// TaskRun is the evidence of one TaskRun.
type TaskRun struct {
	TaskRun verify.Ref `json:"taskRun"`
	Pod     string     `json:"pod,omitempty"` // status.podName
	Steps   []Step     `json:"steps"`
	Receipt *Receipt   `json:"receipt,omitempty"` // absent unless the add-on's record rests on one
	Notes   []string   `json:"notes,omitempty"`   // about the TaskRun as a whole
}

// State is what a step left in its termination message.
type State string

// The states of a step.
const (
	StateEvidence   State = "evidence"   // signing material
	StateUnsigned   State = "unsigned"   // the reason why there is none, a claim of the pod
	StateAbsent     State = "absent"     // neither
	StateUnreadable State = "unreadable" // the message is not as Tekton stores it
	StateEnded      State = "ended"      // Tekton's or the kubelet's text: one of them ended the step
	StateRunning    State = "running"    // nothing yet: the step has not ended
)

// Step is the evidence of one step.
type Step struct {
	Container string         `json:"container"`
	State     State          `json:"state"`
	Reason    string         `json:"reason,omitempty"` // after none:, or the text of Tekton or the kubelet
	ExitCode  *int32         `json:"exitCode,omitempty"`
	Format    signing.Format `json:"format,omitempty"`
	// parts that cannot be decoded, or that every verifier refuses
	Problems      []string      `json:"problems,omitempty"`
	Carriers      []Carrier     `json:"carriers,omitempty"`
	Header        *Header       `json:"header,omitempty"`        // of format v2
	ManifestNames []string      `json:"manifestNames,omitempty"` // of format v1
	Token         *Token        `json:"token,omitempty"`
	Certificates  []Certificate `json:"certificates,omitempty"` // leaf first
	PublicKey     *PublicKey    `json:"publicKey,omitempty"`
	Signatures    []Signature   `json:"signatures,omitempty"`
	Entries       []Entry       `json:"entries,omitempty"`
	Statement     *Statement    `json:"statement,omitempty"` // of format v2
	Digests       []DigestPair  `json:"digests,omitempty"`
}

// Carrier is one carrier of signing material.
type Carrier struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

// Code is a number of the header with its meaning.
type Code struct {
	Value   uint8  `json:"value"`
	Meaning string `json:"meaning"`
}

// Header is the manifest of format v2, field by field.
type Header struct {
	Scheme     Code            `json:"scheme"` // the header's backend byte
	Backend    signing.Backend `json:"backend"`
	Algorithm  Code            `json:"algorithm"`
	Flags      Flags           `json:"flags"`
	PodUID     string          `json:"podUID"`
	TaskRunUID string          `json:"taskRunUID"`
	SignedAt   string          `json:"signedAt"` // RFC 3339, UTC, whole seconds
	Index      uint8           `json:"index"`    // position of the step, from 0
	Count      uint8           `json:"count"`    // number of steps
	Entries    uint16          `json:"entries"`
}

// Flags are the header's bits with their meanings, one for each bit that is set.
type Flags struct {
	Value    uint8    `json:"value"`
	Meanings []string `json:"meanings,omitempty"`
}

// Token is a service account token without its signature, so that it cannot be used as a token.
type Token struct {
	Bytes        int     `json:"bytes"`
	Problem      string  `json:"problem,omitempty"` // why a verifier cannot read it
	HeaderJSON   string  `json:"headerJSON,omitempty"`
	ClaimsJSON   string  `json:"claimsJSON,omitempty"`
	Algorithm    string  `json:"algorithm,omitempty"`
	KeyID        string  `json:"keyID,omitempty"`
	Claims       *Claims `json:"claims,omitempty"`
	AudienceKind string  `json:"audienceKind,omitempty"`
	Digest       string  `json:"digest,omitempty"` // hex, the digest in the audience
}

// Claims are a token's claims. Times are in RFC 3339 form, UTC, or plain numbers if that form cannot express
// them.
type Claims struct {
	Issuer         string   `json:"issuer"`
	Subject        string   `json:"subject"`
	Audience       []string `json:"audience"`
	IssuedAt       string   `json:"issuedAt"`
	NotBefore      string   `json:"notBefore,omitempty"`
	Expiry         string   `json:"expiry"`
	ID             string   `json:"id,omitempty"`
	Namespace      string   `json:"namespace,omitempty"`
	ServiceAccount string   `json:"serviceAccount,omitempty"`
	Pod            string   `json:"pod,omitempty"`
	PodUID         string   `json:"podUID,omitempty"`
}

// Certificate is an X.509 certificate (RFC 5280).
type Certificate struct {
	Subject   string    `json:"subject,omitempty"` // RFC 2253
	Issuer    string    `json:"issuer,omitempty"`
	Names     []string  `json:"names,omitempty"` // subject alternative names, each with its kind before it
	Serial    string    `json:"serial"`          // hex
	NotBefore string    `json:"notBefore"`       // RFC 3339, UTC
	NotAfter  string    `json:"notAfter"`
	CA        bool      `json:"ca"`
	Usages    []string  `json:"usages,omitempty"`
	PublicKey PublicKey `json:"publicKey"`
	SHA256    string    `json:"sha256"` // hex, of the DER form
}

// PublicKey is a public key in the evidence.
type PublicKey struct {
	Kind   string `json:"kind"`
	SHA256 string `json:"sha256"` // hex, of the SPKI in DER form
}

// Signature describes a signature's form. It does not show whether the signature is good.
type Signature struct {
	Carrier string `json:"carrier"`
	Over    string `json:"over"` // what it must sign
	Form    string `json:"form,omitempty"`
	Bytes   int    `json:"bytes"`
	Problem string `json:"problem,omitempty"`
}

// Entry is one thing that the step emitted.
type Entry struct {
	Kind   int    `json:"kind"`
	Called string `json:"called"` // the kind in words
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // hex, of the value
}

// Statement is the in-toto Statement that a verifier rebuilds from the TaskRun as it is now.
type Statement struct {
	Text          string `json:"text"`
	Bytes         int    `json:"bytes"`
	PayloadBytes  int    `json:"payloadBytes"`
	PayloadSHA256 string `json:"payloadSHA256"` // hex
	Digest        string `json:"digest"`        // hex, SHA-256 of its DSSE pre-authentication encoding
}

// DigestPair is a computed digest and the one in the evidence. They are not compared.
type DigestPair struct {
	Of       string `json:"of"`
	Computed string `json:"computed"` // hex, SHA-256
	Carrier  string `json:"carrier"`
	Carried  string `json:"carried"` // hex, SHA-256
}
