// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/hex"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Receipt is what the add-on's record contains about the TaskRun's pod, as the kubelet reported it. It stands for
// evidence that steps did not leave.
type Receipt struct {
	Basis        string        `json:"basis"`
	VerifiedAt   string        `json:"verifiedAt"`
	AddOnVersion string        `json:"addOnVersion,omitempty"`
	PodUID       string        `json:"podUID,omitempty"`
	Node         string        `json:"node,omitempty"`
	RuntimeClass string        `json:"runtimeClass,omitempty"`
	Phase        string        `json:"phase,omitempty"`
	Created      string        `json:"created,omitempty"` // of the pod
	Log          string        `json:"log,omitempty"`     // hex SHA-256 of the results sidecar's log
	Steps        []ReceiptStep `json:"steps"`
	Attempts     []int         `json:"attempts,omitempty"` // earlier attempts with a receipt, from 0
	Token        *Token        `json:"token"`              // the proof of the record
	Digest       string        `json:"digest"`             // hex SHA-256 of what the token vouches for, computed here
}

// ReceiptStep is what the kubelet reported about one container.
type ReceiptStep struct {
	Container string `json:"container"`
	ExitCode  int32  `json:"exitCode"`
	Reason    string `json:"reason,omitempty"`
	ImageID   string `json:"imageID,omitempty"`
	Message   string `json:"message,omitempty"` // hex SHA-256 of the termination message
}

// receiptOf returns the receipt in the record of a TaskRun, nil if there is none. A record that cannot be read adds a
// note.
func (t *TaskRun) receiptOf(tr *v1.TaskRun, prefix string) *Receipt {
	text, ok := tr.Status.Annotations[record.Annotation]
	if !ok {
		return nil
	}
	encoded, err := record.Decode(text)
	if err != nil {
		t.Notes = append(t.Notes, "the add-on's record cannot be read: "+err.Error())
		return nil
	}
	p := encoded.Record.Predicate
	if p.Basis == "" {
		return nil
	}
	digest := record.DigestOf(encoded.Statement)
	r := &Receipt{
		Basis: string(p.Basis), VerifiedAt: timeText(p.VerifiedAt), AddOnVersion: p.AddOnVersion, PodUID: p.PodUID,
		Steps: []ReceiptStep{}, Token: tokenOf(encoded.Token, prefix), Digest: hex.EncodeToString(digest[:]),
	}
	for _, a := range p.Attempts {
		r.Attempts = append(r.Attempts, a.Number)
	}
	if p.Receipt != nil {
		r.describe(p.Receipt)
	}
	return r
}

// describe adds what the kubelet reported.
func (r *Receipt) describe(reported *record.Receipt) {
	r.Node, r.RuntimeClass, r.Phase, r.Log = reported.Node, reported.RuntimeClass, reported.Phase, reported.Log
	r.Created = reported.Created.UTC().Format(time.RFC3339)
	for _, s := range reported.Steps {
		r.Steps = append(r.Steps, ReceiptStep{
			Container: s.Container, ExitCode: s.ExitCode, Reason: s.Reason, ImageID: s.ImageID, Message: s.Message,
		})
	}
}
