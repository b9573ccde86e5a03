// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// maxReason bounds the reason, in bytes. No version of the add-on writes a longer one.
const maxReason = 64

// Facts is what a replica found, and what it saw of the pod: everything that the record needs in addition to
// the TaskRun itself.
type Facts struct {
	Verdict   string    `json:"verdict"`
	Reason    string    `json:"reason,omitempty"`
	Backend   string    `json:"backend,omitempty"`
	Assurance string    `json:"assurance,omitempty"`
	Checks    []string  `json:"checks,omitempty"` // "<id> <status>"
	Keys      []string  `json:"keys,omitempty"`
	Cluster   string    `json:"cluster,omitempty"` // UID
	PodUID    string    `json:"podUID,omitempty"`  // empty if there was no pod
	PodOwner  string    `json:"podOwner,omitempty"`
	Pinned    bool      `json:"pinned,omitempty"`
	At        time.Time `json:"at"`
	Record    string    `json:"record,omitempty"` // RecordDigest of the record next to the seal

	Basis   record.Basis    `json:"basis,omitempty"`
	Receipt *record.Receipt `json:"receipt,omitempty"`
}

// FactsOf describes a judgement.
func FactsOf(r verify.Result, seen verify.Facts, at time.Time) Facts {
	f := Facts{
		Verdict: string(r.Verdict), Reason: r.Reason, Backend: string(r.Backend), Assurance: string(r.Assurance),
		Pinned: seen.Pinned, At: at.UTC().Truncate(time.Second),
	}
	if len(f.Reason) > maxReason {
		f.Reason = ""
	}
	if r.Verdict == verify.Verified {
		f.Basis, f.Receipt = r.Basis, r.Receipt
	}
	if r.Cluster != nil {
		f.Cluster = r.Cluster.UID
	}
	if r.Identity != nil {
		f.Keys = r.Identity.KeyIDs
	}
	if seen.Pod != nil && seen.Pod.Found {
		f.PodUID, f.PodOwner = string(seen.Pod.UID), string(seen.Pod.ControllerUID)
	}
	added := map[string]bool{}
	for _, c := range r.Checks {
		if text := string(c.ID) + " " + string(c.Status); c.Status != verify.Note && !added[text] {
			added[text] = true
			f.Checks = append(f.Checks, text)
		}
	}
	return f
}

// OfAttempt is what is kept of an archived attempt: its record has no receipt.
func (f Facts) OfAttempt() Facts {
	f.Receipt = nil
	return f
}

// Receipted reports whether the add-on verified by a receipt.
func (f Facts) Receipted() bool {
	return f.Verdict == string(verify.Verified) && (f.Basis == record.BasisReceipt || f.Basis == record.BasisBoth)
}

// Result returns the part of the judgement that a record repeats.
func (f Facts) Result() verify.Result {
	r := verify.Result{
		Verdict: verify.Verdict(f.Verdict), Reason: f.Reason, Backend: signing.Backend(f.Backend),
		Assurance: signing.Assurance(f.Assurance), Identity: &verify.Identity{KeyIDs: f.Keys},
		Basis: f.Basis, Receipt: f.Receipt,
	}
	if f.Cluster != "" {
		r.Cluster = &verify.ClusterRef{UID: f.Cluster}
	}
	for _, text := range f.Checks {
		id, status, _ := strings.Cut(text, " ")
		r.Checks = append(r.Checks, verify.Check{ID: verify.CheckID(id), Status: verify.Status(status)})
	}
	return r
}

// Pod returns the UID of the pod that was seen. It is empty unless the pod was the TaskRun's own.
func (f Facts) Pod(taskRun types.UID) types.UID {
	if f.PodOwner != string(taskRun) {
		return ""
	}
	return types.UID(f.PodUID)
}

// Good reports whether the add-on verified the results, or found that there are none.
func (f Facts) Good() bool {
	v := verify.Verdict(f.Verdict)
	return v == verify.Verified || v == verify.NoResults
}
