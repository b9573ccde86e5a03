// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// issuer is a cluster's API server: it signs with one key under one issuer, and the add-on keeps its history.
type issuer struct {
	*verifytest.Cluster
	url     string
	history trust.History
	now     time.Time
	down    bool // it does not hand out its keys
	fetched int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{url: verifytest.Issuer, history: trust.History{}, now: verifytest.Start()}
	i.rotate(t)
	return i
}

// rotate has another key sign.
func (i *issuer) rotate(t *testing.T) {
	t.Helper()
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	i.Cluster = cluster
}

// fetch returns the keys in use and those of the history.
func (i *issuer) fetch(context.Context) (*trust.Cluster, error) {
	i.fetched++
	if i.down {
		return nil, errors.New("connection refused")
	}
	live, err := i.Trust()
	if err != nil {
		return nil, err
	}
	live.ServiceAccountIssuers[0].Issuer = i.url
	if err := i.history.Observe(live, i.now); err != nil {
		return nil, err
	}
	return i.history.Cluster(live.Name, live.UID)
}

// sign returns a TaskRun that runs now.
func (i *issuer) sign(t *testing.T) *v1.TaskRun {
	t.Helper()
	r := verifytest.NewRun()
	later := i.now.Sub(verifytest.Start())
	for s := range r.Steps {
		r.Steps[s].Claims = func(c map[string]any) {
			c["iss"] = i.url
			for _, at := range []string{"iat", "nbf", "exp"} {
				c[at] = c[at].(int64) + int64(later/time.Second)
			}
		}
	}
	tr, err := r.TaskRun(i.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	tr.CreationTimestamp.Time = tr.CreationTimestamp.Add(later)
	tr.Status.StartTime.Time = tr.Status.StartTime.Add(later)
	tr.Status.CompletionTime.Time = tr.Status.CompletionTime.Add(later)
	for s := range tr.Status.Steps {
		ended := tr.Status.Steps[s].Terminated
		ended.StartedAt.Time, ended.FinishedAt.Time = ended.StartedAt.Add(later), ended.FinishedAt.Add(later)
	}
	return tr
}

// trusting returns the add-on's view of the issuer, with the keys that it has now.
func (i *issuer) trusting(t *testing.T, reviewer verify.Reviewer) *Trust {
	t.Helper()
	trusted := NewTrust(i.fetch, reviewer, func() time.Time { return i.now }, quiet())
	if err := trusted.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return trusted
}

func (i *issuer) judge(t *testing.T, trusted *Trust, tr *v1.TaskRun) string {
	t.Helper()
	got, err := trusted.TaskRun(t.Context(),
		Rules{Tokens: verify.Tokens{Audience: signing.AudiencePrefix, Lifetime: time.Hour}}, tr, verify.Facts{
			Live: true, Pod: &verify.PodFacts{Found: true, UID: "3db15e48-971f-4815-84b3-272e52f61a10", ControllerUID: tr.UID},
		})
	if err != nil {
		t.Fatal(err)
	}
	return string(got.Verdict) + " " + got.Reason
}

const otherIssuer = "https://oidc.example/cluster"

// changes are what an operator does to the issuer of a cluster.
var changes = map[string]func(*testing.T, *issuer){
	"the key":    func(t *testing.T, i *issuer) { i.rotate(t) },
	"the issuer": func(_ *testing.T, i *issuer) { i.url = otherIssuer },
	"both": func(t *testing.T, i *issuer) {
		i.rotate(t)
		i.url = otherIssuer
	},
}

// TestTrustFollowsItsIssuer changes key, issuer and both under an add-on that knows what was before. What is signed
// then is VERIFIED after one more look, and so is what was signed before, also when everything is as it was again.
func TestTrustFollowsItsIssuer(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			i, reviewer := newIssuer(t), &fakeReviewer{}
			key, url := i.Cluster, i.url
			trusted := i.trusting(t, reviewer)
			before := i.sign(t)
			i.now = i.now.Add(2 * time.Hour)
			change(t, i)
			after := i.sign(t)
			i.now = i.now.Add(time.Minute)
			for what, tr := range map[string]*v1.TaskRun{"after": after, "before": before} {
				if got := i.judge(t, trusted, tr); got != "VERIFIED " {
					t.Errorf("signed %s the change: got %s", what, got)
				}
			}
			i.Cluster, i.url, i.now = key, url, i.now.Add(4*time.Hour)
			again := i.sign(t)
			i.now = i.now.Add(time.Minute)
			for what, tr := range map[string]*v1.TaskRun{"before": before, "meanwhile": after, "again": again} {
				if got := i.judge(t, trusted, tr); got != "VERIFIED " {
					t.Errorf("rolled back, signed %s: got %s", what, got)
				}
			}
			if asked := reviewer.asked.Load(); asked != 0 || i.fetched > 4 {
				t.Errorf("got %d questions about tokens and %d looks, want none and at most 4", asked, i.fetched)
			}
		})
	}
}

// TestTrustThatKnowsLess has keys that cannot be read again, or that an API server which was not restarted yet
// hands out: that refutes nothing.
func TestTrustThatKnowsLess(t *testing.T) {
	yes := newSignedRun(t, signing.SchemeOIDCPayloadBound).yes()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			silent, vouching := i.trusting(t, &fakeReviewer{}), i.trusting(t, &fakeReviewer{answer: yes})
			old := *i
			change(t, i)
			tr := i.sign(t)
			i.Cluster, i.url = old.Cluster, old.url // the API server that is asked
			for _, down := range []bool{true, false} {
				i.down, i.now = down, i.now.Add(time.Minute)
				if got := i.judge(t, silent, tr); got != "INDETERMINATE keys-behind" {
					t.Errorf("down %v: got %s, want a verdict that has to wait", down, got)
				}
				if got := i.judge(t, vouching, tr); got != "VERIFIED " {
					t.Errorf("down %v, the API server vouches: got %s", down, got)
				}
			}
			want := "INDETERMINATE key"
			if name == "the issuer" {
				want = "FAILED key"
			}
			i.now = i.now.Add(settleTime)
			if got := i.judge(t, silent, tr); got != want {
				t.Errorf("long after, with fresh keys: got %s, want %s", got, want)
			}
		})
	}
}

// TestTrustRefutesARetiredKey looks again before it does.
func TestTrustRefutesARetiredKey(t *testing.T) {
	i := newIssuer(t)
	trusted := i.trusting(t, &fakeReviewer{})
	stolen := *i
	i.rotate(t)
	i.now = i.now.Add(3 * time.Hour)
	if err := trusted.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	stolen.now = i.now
	tr := stolen.sign(t)
	i.now = i.now.Add(time.Minute)
	if got := i.judge(t, trusted, tr); got != "INDETERMINATE keys-behind" {
		t.Errorf("at once: got %s", got)
	}
	i.now = i.now.Add(settleTime)
	if got := i.judge(t, trusted, tr); got != "FAILED key" {
		t.Errorf("long after: got %s", got)
	}
	tr.Status.Steps[0].Terminated.FinishedAt.Time = i.now.Add(24 * time.Hour)
	if got := i.judge(t, trusted, tr); got == "INDETERMINATE keys-behind" {
		t.Errorf("a node whose clock is ahead: got %s", got)
	}
}

// TestVerdictThatHasToWait is not stored: enforce has Tekton write again, audit has the TaskRun judged late.
func TestVerdictThatHasToWait(t *testing.T) {
	i := newIssuer(t)
	trusted := i.trusting(t, &fakeReviewer{})
	i.url, i.down = otherIssuer, true
	tr := i.sign(t)
	i.now = i.now.Add(time.Minute)
	data, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	var submitted, old fields
	if err := errors.Join(json.Unmarshal(data, &submitted), json.Unmarshal(data, &old)); err != nil {
		t.Fatal(err)
	}
	old["status"] = fields{"conditions": []any{succeededIs("Unknown")}}
	run := newSignedRun(t, signing.SchemeOIDCPayloadBound)
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		handler := newStatusHandler(nil)
		handler.Verifier, handler.Pods = trusted, run.pods()
		handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, prefix: signing.AudiencePrefix, mode: mode}
		request := statusWrite(t, old, submitted)
		response := handler.Admit(t.Context(), request)
		if mode == settings.Enforce {
			if response.Allowed || response.Result.Code != http.StatusInternalServerError {
				t.Errorf("enforce: got %+v, want a refusal after which Tekton tries again", response)
			}
			continue
		}
		after := stored(t, response, request.Object)
		if got := ourConditions(after); len(got) != 0 {
			t.Errorf("audit: got %v, want no verdict yet", got)
		}
		if got := after["status"].(fields)["results"].([]any); len(got) == 0 {
			t.Error("audit: the results are gone")
		}
	}
}
