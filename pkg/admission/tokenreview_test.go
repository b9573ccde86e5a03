// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// fakeReviewer answers all questions about tokens the same, and counts them.
type fakeReviewer struct {
	answer verify.Review
	err    error
	asked  atomic.Int32
	wait   bool // for the end of the request
}

func (f *fakeReviewer) Review(ctx context.Context, _, _ string) (verify.Review, error) {
	f.asked.Add(1)
	if f.wait {
		<-ctx.Done()
		return verify.Review{}, ctx.Err()
	}
	return f.answer, f.err
}

// signedRun is a TaskRun of two steps that a virtual cluster signed.
type signedRun struct {
	*verifytest.Run
	cluster *verifytest.Cluster
}

func newSignedRun(t *testing.T, scheme signing.Scheme) signedRun {
	t.Helper()
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	r := verifytest.NewRun()
	r.Scheme = scheme
	return signedRun{r, cluster}
}

// yes is the answer of an API server that knows the tokens of the run's pod.
func (r signedRun) yes() verify.Review {
	return verify.Review{
		Authenticated: true, Username: "system:serviceaccount:" + r.Namespace + ":" + r.ServiceAccount,
		PodName: r.PodName(), PodUID: r.PodUID,
	}
}

// pods has the run's pod, as long as it lives.
func (r signedRun) pods() fakePods {
	yes := true
	return fakePods{pod: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		UID: types.UID(r.PodUID), OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun",
			UID: types.UID(r.UID), Controller: &yes}},
	}}}
}

func goneFromCluster() fakePods {
	return fakePods{err: apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "build-pod")}
}

// admit lets the webhook judge the write that completes the run, and returns the condition that it sets. keys are
// those that the add-on knows.
func (r signedRun) admit(t *testing.T, keys *verifytest.Cluster, reviewer verify.Reviewer, pods PodGetter) condition {
	t.Helper()
	tr, err := r.TaskRun(r.cluster)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	var submitted, old fields
	if err := errors.Join(json.Unmarshal(data, &submitted), json.Unmarshal(data, &old)); err != nil {
		t.Fatal(err)
	}
	old["status"] = fields{"conditions": []any{succeededIs("Unknown")}}
	trusted := NewTrust(func(context.Context) (*trust.Cluster, error) { return keys.Trust() }, reviewer, testNow, quiet())
	handler := newStatusHandler(nil)
	handler.Verifier, handler.Pods = trusted, pods
	handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, prefix: signing.AudiencePrefix}
	request := statusWrite(t, old, submitted)
	conditions := ourConditions(stored(t, handler.Admit(t.Context(), request), request.Object))
	if len(conditions) != 1 {
		t.Fatalf("got %d conditions of ours, want 1: %v", len(conditions), conditions)
	}
	text := func(name string) string { s, _ := conditions[0][name].(string); return s }
	return condition{Status: corev1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message")}
}

// TestTokenReview has a token vouch for nothing but itself: only the API server's word makes it evidence, and only
// while the pod lives.
func TestTokenReview(t *testing.T) {
	audience := newSignedRun(t, signing.SchemeOIDCAudienceOnly)
	payload := newSignedRun(t, signing.SchemeOIDCPayloadBound)
	other, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	foreign := audience.yes()
	foreign.PodUID = "00000000-0000-4000-8000-000000000000"
	for name, c := range map[string]struct {
		run      signedRun
		keys     *verifytest.Cluster
		reviewer *fakeReviewer
		pods     PodGetter
		status   string
		message  string // the beginning
		asked    int32
	}{
		"the API server vouches": {
			audience, audience.cluster, &fakeReviewer{answer: audience.yes()}, audience.pods(), "True", "VERIFIED: 3 results", 2,
		},
		"it names another pod": {
			audience, audience.cluster, &fakeReviewer{answer: foreign}, audience.pods(), "False", "FAILED: pod", 2,
		},
		"it does not answer": {
			audience, audience.cluster, &fakeReviewer{err: errors.New("timeout")}, audience.pods(), "False",
			"INDETERMINATE: assurance", 2,
		},
		"it refuses the token": {
			audience, audience.cluster, &fakeReviewer{answer: verify.Review{Error: "expired"}}, audience.pods(),
			"False", "INDETERMINATE: assurance", 2,
		},
		"the pod is gone": {
			audience, audience.cluster, &fakeReviewer{answer: verify.Review{Error: "pod not found"}}, goneFromCluster(),
			"False", "INDETERMINATE: ", 2,
		},
		"the pod is gone, and the API server has not noticed": {
			audience, audience.cluster, &fakeReviewer{answer: audience.yes()}, goneFromCluster(), "False", "INDETERMINATE: pod",
			2,
		},
		"an unknown key": {
			payload, other, &fakeReviewer{answer: payload.yes()}, payload.pods(), "True", "VERIFIED: 3 results", 2,
		},
		"an unknown key, no answer": {
			payload, other, &fakeReviewer{err: errors.New("timeout")}, payload.pods(), "False", "INDETERMINATE: key", 2,
		},
		"nobody is asked about what the keys prove": {
			payload, payload.cluster, &fakeReviewer{answer: payload.yes()}, payload.pods(), "True", "VERIFIED: 3 results", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.run.admit(t, c.keys, c.reviewer, c.pods)
			if string(got.Status) != c.status || !strings.HasPrefix(got.Message, c.message) {
				t.Errorf("got %s with %q, want %s with %q", got.Status, got.Message, c.status, c.message)
			}
			if diff := cmp.Diff(c.asked, c.reviewer.asked.Load()); diff != "" {
				t.Errorf("questions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTokenReviewTakesNoLongerThanTheWebhookMay lets the API server hang: the write is answered all the same.
func TestTokenReviewTakesNoLongerThanTheWebhookMay(t *testing.T) {
	const webhookTimeout = 10 * time.Second // config/600-webhooks.yaml
	if most := podTimeout + refreshTimeout + reviewTimeout; most > webhookTimeout-time.Second {
		t.Errorf("the requests of one verdict may take %s, want a second less than %s", most, webhookTimeout)
	}
	synctest.Test(t, func(t *testing.T) {
		run := newSignedRun(t, signing.SchemeOIDCAudienceOnly)
		start := time.Now()
		got := run.admit(t, run.cluster, &fakeReviewer{wait: true}, run.pods())
		if took := time.Since(start); took != reviewTimeout {
			t.Errorf("took %s, want %s for all steps together", took, reviewTimeout)
		}
		if got.Status != "False" || !strings.HasPrefix(got.Message, "INDETERMINATE: assurance") {
			t.Errorf("got %s with %q", got.Status, got.Message)
		}
	})
}

// TestTokenReviewComesAfterFreshKeys rotates the issuer's key: the new one is read, and nobody is asked about tokens.
func TestTokenReviewComesAfterFreshKeys(t *testing.T) {
	run := newSignedRun(t, signing.SchemeOIDCPayloadBound)
	stale, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := run.TaskRun(run.cluster)
	if err != nil {
		t.Fatal(err)
	}
	keys, c, reviewer := stale, &clock{}, &fakeReviewer{answer: run.yes()}
	trusted := NewTrust(func(context.Context) (*trust.Cluster, error) { return keys.Trust() }, reviewer, c.now, quiet())
	if err := trusted.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys = run.cluster
	c.advance(refreshPause)
	got, err := trusted.TaskRun(t.Context(),
		Rules{Tokens: verify.Tokens{Audience: signing.AudiencePrefix, Lifetime: time.Hour}}, tr, verify.Facts{
			Live: true, Pod: &verify.PodFacts{Found: true, UID: "3db15e48-971f-4815-84b3-272e52f61a10", ControllerUID: tr.UID},
		})
	if err != nil || got.Verdict != verify.Verified || reviewer.asked.Load() != 0 {
		t.Errorf("got %s, %v and %d questions, want VERIFIED and none", got.Verdict, err, reviewer.asked.Load())
	}
}
