// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// An old bundle names no recorders.
func TestRecordWithoutRecorders(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Recorders = nil
	v, err := verify.New(cluster, verify.WithClock(verifytest.RecordedAt))
	if err != nil {
		t.Fatal(err)
	}
	got := v.TaskRun(t.Context(), newRecorded(t, nil, verifytest.Recording{}), verify.Facts{})
	if check := recordCheck(got); got.Verdict != verify.Indeterminate || got.Reason != "record" || got.Record != nil ||
		!strings.Contains(check.Message, "names no recorders") {
		t.Errorf("expected INDETERMINATE and a note, got %s and %+v", got.Verdict, check)
	}
}

// A retired key does not sign later, and an unknown key is reported as missing.
func TestRecordKeys(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := foreign.JWK()
	if err != nil {
		t.Fatal(err)
	}
	tr := newRecorded(t, nil, verifytest.Recording{Signer: foreign})
	verdictWith := func(key *trust.IssuerKey, more ...verify.Option) verify.Result {
		keys := cluster.ServiceAccountIssuers[0].Keys[:1:1]
		if key != nil {
			keys = append(keys, *key)
		}
		c := *cluster
		c.ServiceAccountIssuers = []trust.Issuer{{Issuer: verifytest.Issuer, Keys: keys}}
		v, err := verify.New(&c, append(more, verify.WithClock(verifytest.RecordedAt))...)
		if err != nil {
			t.Fatal(err)
		}
		return v.TaskRun(t.Context(), tr, verify.Facts{})
	}
	if got := verdictWith(nil); got.MissingKey != foreign.KeyID {
		t.Errorf("expected the missing key %s, got %q", foreign.KeyID, got.MissingKey)
	}
	if got := verdictWith(&trust.IssuerKey{JWK: jwk}); got.Verdict != verify.Verified ||
		recordCheck(got).Status != verify.Pass {
		t.Errorf("with the key: expected VERIFIED and a good record, got %s and %+v", got.Verdict, recordCheck(got))
	}
	retired := &trust.IssuerKey{JWK: jwk, NotAfter: trust.At(verifytest.RecordedAt().Add(-2 * time.Hour))}
	if got := verdictWith(retired); got.Verdict != verify.Failed ||
		!strings.Contains(recordCheck(got).Message, "retired") {
		t.Errorf("with a retired key: expected FAILED, got %s and %+v", got.Verdict, recordCheck(got))
	}
	if got := verdictWith(retired, verify.WithStaleKeys()); got.Verdict != verify.Indeterminate ||
		got.MissingKey != foreign.KeyID {
		t.Errorf("with a key that may be in use again: expected INDETERMINATE for the missing key, got %s %q", got.Verdict,
			got.MissingKey)
	}
}

// The record holds the units that a verifier rebuilds.
func TestRecordedUnits(t *testing.T) {
	tr := newRecorded(t, nil, verifytest.Recording{})
	encoded, err := record.Decode(tr.Status.Annotations[record.Annotation])
	if err != nil {
		t.Fatal(err)
	}
	p := encoded.Record.Predicate
	var containers []string
	for i, u := range p.Units {
		containers = append(containers, u.Container)
		token := tr.Status.Steps[i].Terminated.Message
		if !strings.Contains(token, "SIGNING_TOKEN") || len(u.Payload) == 0 || len(u.Digest) != 64 {
			t.Errorf("expected payload and digest of a signed step, got %+v", u)
		}
	}
	if diff := cmp.Diff([]string{"step-build", "step-publish"}, containers); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if p.PodUID != "3db15e48-971f-4815-84b3-272e52f61a10" || p.Cluster != verifytest.ClusterUID {
		t.Errorf("expected pod and cluster, got %s and %s", p.PodUID, p.Cluster)
	}
	if slices.ContainsFunc(p.Checks, func(c record.Check) bool { return c.Status == string(verify.Note) }) {
		t.Errorf("expected no notes among the checks, got %v", p.Checks)
	}
	if _, err := verify.NewRecord(tr, verify.Result{}, verify.Recording{PodUID: types.UID("x")}); err == nil {
		t.Error("expected an error for a result without a cluster, got none")
	}
}
