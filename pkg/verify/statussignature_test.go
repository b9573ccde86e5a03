// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// statusCluster is a cluster with two authorities of its own trust domain, one after the other, and a federated one.
type statusCluster struct {
	*verifytest.Cluster

	next, federated *verifytest.CA
}

func newStatusCluster(t *testing.T) *statusCluster {
	t.Helper()
	c := &statusCluster{}
	var err error
	if c.Cluster, err = verifytest.NewECCluster(); err != nil {
		t.Fatal(err)
	}
	for ca, domain := range map[**verifytest.CA]string{
		&c.CA: verifytest.TrustDomain, &c.next: verifytest.TrustDomain, &c.federated: "other.example",
	} {
		if *ca, err = verifytest.NewCA(domain); err != nil {
			t.Fatal(err)
		}
	}
	c.Federated = []*verifytest.CA{c.federated}
	return c
}

// trusted is what the add-on has seen. The first authority was retired at a time, if it is not zero.
func (c *statusCluster) trusted(t *testing.T, retired time.Time) *trust.Cluster {
	t.Helper()
	known, err := c.Trust()
	if err != nil {
		t.Fatal(err)
	}
	known.Domains[0].X509Authorities[0].NotAfter = trust.At(retired)
	known.Domains[0].X509Authorities = append(known.Domains[0].X509Authorities, c.next.Bundle(false).X509Authorities...)
	return known
}

// taskRun returns a TaskRun whose steps signed with SVIDs, and whose status is signed.
func (c *statusCluster) taskRun(t *testing.T, change verifytest.StatusSigning) *v1.TaskRun {
	t.Helper()
	r := verifytest.NewRun()
	r.Scheme = signing.SchemeSPIRE
	tr, err := r.TaskRun(c.Cluster)
	if err == nil {
		err = c.SignStatus(tr, change)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// statusCheck returns the status of the only check of the signature; empty if there is none.
func statusCheck(t *testing.T, r verify.Result) (found verify.Status) {
	t.Helper()
	for _, c := range r.Checks {
		if c.ID != verify.CheckStatusSignature {
			continue
		}
		if found != "" && found != verify.Note {
			t.Errorf("two checks, %s and %s", found, c.Status)
		}
		found = c.Status
	}
	return found
}

// A signature over the status refutes one that was changed, at any later time, and proves nothing else.
func TestStatusSignature(t *testing.T) {
	c := newStatusCluster(t)
	soon, years := verifytest.StatusSignedAt().Add(time.Minute), verifytest.StatusSignedAt().AddDate(10, 0, 0)
	ourID := func(certificate *x509.Certificate) {
		certificate.URIs = []*url.URL{{Scheme: "spiffe", Host: verifytest.TrustDomain, Path: "/tekton-sign/controller"}}
	}
	flip := func(tr *v1.TaskRun) { tr.Status.Conditions[0].Message = "x" }
	withoutMessages := func(tr *v1.TaskRun) {
		for i := range tr.Status.Steps {
			tr.Status.Steps[i].Terminated.Message = ""
		}
	}
	for name, tc := range map[string]struct {
		sign    verifytest.StatusSigning
		change  func(*v1.TaskRun)
		now     time.Time
		retired time.Time // the authority
		facts   verify.Facts
		want    verify.Status
		verdict verify.Verdict // VERIFIED if empty
	}{
		"soon":                       {now: soon, want: verify.Pass},
		"after the SVID has expired": {now: years, want: verify.Pass},
		"by the next authority":      {sign: verifytest.StatusSigning{CA: c.next}, now: soon, want: verify.Pass},
		"after a rotation":           {now: years, retired: soon, want: verify.Pass},
		"by a retired authority": {sign: verifytest.StatusSigning{At: soon.Add(50 * time.Minute)}, now: years,
			retired: soon.Add(-5 * time.Minute), want: verify.Pass},
		"by an authority retired long before": {
			sign: verifytest.StatusSigning{At: soon.Add(3 * time.Hour), Certificate: func(leaf *x509.Certificate) {
				leaf.NotAfter = soon.Add(9 * time.Hour)
			}}, now: years, retired: soon, want: verify.Fail, verdict: verify.Failed,
		},
		"by a federated authority with our ID": {
			sign: verifytest.StatusSigning{CA: c.federated, Certificate: ourID}, now: soon, want: verify.Fail,
			verdict: verify.Failed,
		},
		"from the future": {sign: verifytest.StatusSigning{At: soon.Add(time.Hour / 2)}, now: soon, want: verify.Warn},
		"changed":         {change: flip, now: soon, want: verify.Fail, verdict: verify.Failed},
		"changed, found years later": {
			change: flip, now: years, want: verify.Fail, verdict: verify.Failed,
		},
		"not signed": {change: func(tr *v1.TaskRun) { tr.Status.Annotations = nil }, now: soon,
			want: verify.Note},
		"by a clock that is behind": {sign: verifytest.StatusSigning{At: verifytest.Start()}, now: soon, want: verify.Pass},
		"no completion": {now: soon, want: verify.Pass,
			change: func(tr *v1.TaskRun) {
				tr.Status.CompletionTime = nil
				if err := c.SignStatus(tr, verifytest.StatusSigning{}); err != nil {
					t.Fatal(err)
				}
			}},
		"messages gone in an archive": {change: withoutMessages, now: soon, want: verify.Note,
			verdict: verify.Indeterminate},
		"messages gone in the cluster": {change: withoutMessages, now: soon, facts: verify.Facts{Live: true},
			want: verify.Fail, verdict: verify.Failed},
		"Tekton's own": {sign: verifytest.StatusSigning{Tekton: true}, now: years, want: verify.Pass},
		"Tekton's own, by account": {sign: verifytest.StatusSigning{Tekton: true,
			Path: "/ns/tekton-pipelines/sa/tekton-pipelines-controller"}, now: years, want: verify.Pass},
		"Tekton's own, of a condition": {sign: verifytest.StatusSigning{Tekton: true}, change: flip, now: years,
			want: verify.Pass}, // that form leaves them out
	} {
		t.Run(name, func(t *testing.T) {
			tr := c.taskRun(t, tc.sign)
			if tc.change != nil {
				tc.change(tr)
			}
			v, err := verify.New(c.trusted(t, tc.retired), verify.WithUnrecorded(),
				verify.WithClock(func() time.Time { return tc.now }))
			if err != nil {
				t.Fatal(err)
			}
			r := v.TaskRun(t.Context(), tr, tc.facts)
			if tc.verdict == "" {
				tc.verdict = verify.Verified
			}
			if got := statusCheck(t, r); got != tc.want || r.Verdict != tc.verdict {
				t.Errorf("expected %s %s, got %s %s: %s", tc.verdict, tc.want, r.Verdict, got, r.Message)
			}
		})
	}
}

// A bundle without a trust domain cannot check a signature, and does not blame the TaskRun for that. A note that the
// status was changed needs no key.
func TestStatusSignatureWithoutTrustDomain(t *testing.T) {
	c := newStatusCluster(t)
	tr, err := verifytest.NewRun().TaskRun(c.Cluster)
	if err == nil {
		err = c.SignStatus(tr, verifytest.StatusSigning{})
	}
	if err != nil {
		t.Fatal(err)
	}
	known := c.trusted(t, time.Time{})
	known.TrustDomain, known.Domains = "", nil
	v, err := verify.New(known, verify.WithUnrecorded(), verify.WithClock(verifytest.StatusSignedAt))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        verify.Status
		verdict     verify.Verdict
	}{
		"signed": {tr.Status.Annotations, verify.Note, verify.Verified}, "not signed": {nil, "", verify.Verified},
		"noted": {map[string]string{signing.StatusNotVerified: "no"}, verify.Fail, verify.Failed},
	} {
		tr.Status.Annotations = tc.annotations
		r := v.TaskRun(t.Context(), tr, verify.Facts{})
		if got := statusCheck(t, r); got != tc.want || r.Verdict != tc.verdict {
			t.Errorf("%s: expected %s %s, got %s %s", name, tc.verdict, tc.want, r.Verdict, got)
		}
	}
}

// The signature over a TaskRun covers its archived attempts, and is not one of theirs.
func TestStatusSignatureOfAttempt(t *testing.T) {
	c := newStatusCluster(t)
	tr := c.taskRun(t, verifytest.StatusSigning{})
	archived := tr.Status
	tr.Status.RetriesStatus = []v1.TaskRunStatus{archived}
	attempt, err := verify.Attempt(tr, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(attempt.Status.Annotations); n != 0 || len(archived.Annotations) != 3 {
		t.Errorf("the attempt has %d annotations, and the TaskRun %d", n, len(archived.Annotations))
	}
}
