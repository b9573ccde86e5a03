// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// recordedRun returns a TaskRun with a record of this predicate.
func recordedRun(t *testing.T, p record.Predicate) *v1.TaskRun {
	t.Helper()
	tr := taskRun(t, func(r *verifytest.Run) {
		for i := range r.Steps {
			r.Steps[i].Bare = true
		}
	})
	p.Cluster, p.Verdict = "0b6b7e2c-53d6-4f43-9b0e-1f6d8f2a7c11", "VERIFIED"
	p.VerifiedAt = time.Date(2025, 6, 2, 12, 1, 5, 0, time.UTC)
	made, err := record.New(tr, p)
	if err != nil {
		t.Fatal(err)
	}
	statement, err := made.Statement()
	if err != nil {
		t.Fatal(err)
	}
	text, err := record.Encode(statement, "a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	tr.Status.Annotations = map[string]string{record.Annotation: text}
	return tr
}

func inspectRecorded(t *testing.T, p record.Predicate) TaskRun {
	t.Helper()
	return Inspect(recordedRun(t, p), signing.AudiencePrefix)
}

func TestInspectReceipt(t *testing.T) {
	created := time.Date(2025, 6, 2, 12, 0, 1, 0, time.UTC)
	message := record.MessageDigest("[]")
	reported := &record.Receipt{Node: "node-1", Phase: "Running", Created: created, Steps: []record.Step{
		{Container: "step-build", ExitCode: 3, Reason: "Error", ImageID: "busybox@sha256:0", Message: message},
	}}
	got := inspectRecorded(t, record.Predicate{Basis: record.BasisReceipt, Receipt: reported, AddOnVersion: "v1"})
	if got.Receipt == nil || !got.HasEvidence() {
		t.Fatalf("no receipt: %+v", got)
	}
	if got.Receipt.Token.Problem == "" || len(got.Receipt.Digest) != 64 {
		t.Errorf("token %+v, digest %q", got.Receipt.Token, got.Receipt.Digest)
	}
	got.Receipt.Token, got.Receipt.Digest = nil, ""
	want := &Receipt{
		Basis: "receipt", VerifiedAt: "2025-06-02T12:01:05Z", AddOnVersion: "v1", Node: "node-1",
		Phase: "Running", Created: "2025-06-02T12:00:01Z", Steps: []ReceiptStep{
			{Container: "step-build", ExitCode: 3, Reason: "Error", ImageID: "busybox@sha256:0", Message: message},
		},
	}
	if diff := cmp.Diff(want, got.Receipt); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
}

// TestInspectNoReceipt: a record of evidence is none, and one that cannot be read is named.
func TestInspectNoReceipt(t *testing.T) {
	got := inspectRecorded(t, record.Predicate{})
	if got.Receipt != nil || len(got.Notes) != 0 || got.HasEvidence() {
		t.Errorf("a record v1: %+v, notes %q", got.Receipt, got.Notes)
	}
	tr := recordedRun(t, record.Predicate{})
	tr.Status.Annotations[record.Annotation] = "v1.x.y"
	got = Inspect(tr, signing.AudiencePrefix)
	if got.Receipt != nil || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "cannot be read") {
		t.Errorf("a record that cannot be read: %+v, notes %q", got.Receipt, got.Notes)
	}
	attempts := []record.Attempt{{Number: 1, TaskRun: strings.Repeat("ab", 32), WithoutMessages: strings.Repeat("ab", 32)}}
	alone := inspectRecorded(t, record.Predicate{Basis: record.BasisEvidence, Attempts: attempts}).Receipt
	if alone == nil || len(alone.Steps) != 0 || len(alone.Attempts) != 1 {
		t.Errorf("a record with attempts alone: %+v", alone)
	}
}
