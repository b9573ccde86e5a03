// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

const (
	policyWords    = "ValidatingAdmissionPolicy 'mine' with binding 'mine' denied request: too many containers"
	deniedByPolicy = `failed to create task run pod "build": pods "build-pod" is forbidden: ` + policyWords +
		`. Maybe invalid TaskSpec`
)

// refusalsRig is the reconciler in a cluster whose clock stands still.
type refusalsRig struct {
	t        *testing.T
	refusals *Refusals
	client   *fake.Clientset
	now      time.Time
	enforced bool
	counted  []bool
	names    int
}

func newRefusalsRig(t *testing.T, data map[string]string) *refusalsRig {
	t.Helper()
	rig := &refusalsRig{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	rig.client = fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: delivery.ConfigMapName}, Data: data,
	})
	view, err := delivery.NewView(rig.client, signerImage)
	if err != nil {
		t.Fatal(err)
	}
	rig.refusals = NewRefusals(RefusalsConfig{
		Client: rig.client, Image: signerImage,
		Wanted: func(namespace string) bool { return namespace == "ci" }, Enforced: func(string) bool { return rig.enforced },
		View: view, Store: delivery.NewStore(rig.client, view, delivery.Refusal, "test"),
		OnRefused: func(stopped bool) { rig.counted = append(rig.counted, stopped) },
		Recorder:  record.NewFakeRecorder(100), Now: func() time.Time { return rig.now }, Log: zap.NewNop().Sugar(),
	})
	rig.refusals.Start(&lockedKeys{})
	go view.Run(t.Context())
	rig.until(view.HasSynced)
	rig.until(func() bool { // the fake client loses what changes between a list and the watch
		return slices.ContainsFunc(rig.client.Actions(), func(a clienttesting.Action) bool {
			return a.Matches("watch", "configmaps")
		})
	})
	if err := rig.refusals.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
		t.Fatal(err)
	}
	return rig
}

// lockedKeys remembers what several goroutines put into the work queue.
type lockedKeys struct {
	mu   sync.Mutex
	keys keys
}

func (k *lockedKeys) EnqueueKey(key types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys.EnqueueKey(key)
}

func (r *refusalsRig) until(seen func() bool) {
	r.t.Helper()
	err := wait.PollUntilContextTimeout(r.t.Context(), time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return seen(), nil })
	if err != nil {
		r.t.Fatal("not seen in time")
	}
}

// refuse has a TaskRun, that was made now, fail with these words.
func (r *refusalsRig) refuse(message string) {
	r.names++
	tr := startingRun("False", "PodCreationFailed", message)
	tr.SetName(fmt.Sprint("build-", r.names))
	tr.SetCreationTimestamp(metav1.NewTime(r.now))
	status := tr.Object["status"].(map[string]any) //nolint:forcetypeassert // made above
	delete(status, "podName")
	status["completionTime"] = r.now.UTC().Format(time.RFC3339)
	r.refusals.Seen(tr)
}

// later reconciles each second of a time, and returns once the view knows what was written.
func (r *refusalsRig) later(passed time.Duration) {
	r.t.Helper()
	for end := r.now.Add(passed); ; r.now = r.now.Add(time.Second) {
		if err := r.refusals.Reconcile(r.t.Context(), "ci"); err != nil {
			if again, _ := controller.IsRequeueKey(err); !again {
				r.t.Fatal(err)
			}
		}
		maps := r.client.CoreV1().ConfigMaps(settings.Namespace)
		cm, err := maps.Get(r.t.Context(), delivery.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		want := delivery.Parse(cm.Data)
		r.until(func() bool {
			got := r.refusals.View.Table()
			return cmp.Equal(want.Entries(), got.Entries()) && cmp.Equal(want.Refused(), got.Refused())
		})
		if !r.now.Before(end) {
			return
		}
	}
}

// hears takes the mark away by which a trial is asked for, as the keeper does.
func (r *refusalsRig) hears() {
	r.t.Helper()
	if err := r.refusals.Store.ClearRequest(r.t.Context(), "ci"); err != nil {
		r.t.Fatal(err)
	}
	r.until(func() bool { return !r.asked() })
}

func (r *refusalsRig) asked() bool { return r.refusals.View.Table().AskedFor("ci") }

// reason returns why the namespace is left alone, empty if it is not.
func (r *refusalsRig) reason() string {
	e, _ := r.refusals.View.Table().Of("ci", delivery.Refusal)
	return e.Reason
}

// events returns the reasons of the events beside TaskRuns.
func (r *refusalsRig) events() (reasons []string) {
	r.t.Helper()
	list, err := r.client.CoreV1().Events("ci").List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list.Items {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

// TestRefusals asks once for TaskRuns that are refused one after the other, whatever refuses them.
func TestRefusals(t *testing.T) {
	rig := newRefusalsRig(t, nil)
	for second, wantAsked := range []bool{true, false, false} {
		rig.refuse("not valid")
		rig.later(0)
		if rig.asked() != wantAsked {
			t.Errorf("second %d: asked: %t", second, rig.asked())
		}
		if wantAsked {
			rig.hears()
		}
		rig.now = rig.now.Add(time.Second)
	}
	rig.later(refusalInterval)
	if !rig.asked() {
		t.Error("what was refused meanwhile never asked")
	}
	if reason := rig.reason(); reason != "" || len(rig.counted) != 0 || len(rig.events()) != 0 {
		t.Errorf("the namespace is left alone: %s", reason)
	}
}

// TestRefusalsLeaveAlone: in audit, what a policy refused and no trial explains leaves a namespace alone, with the
// policy's words, once the keeper has had its time.
func TestRefusalsLeaveAlone(t *testing.T) {
	const words = policyWords
	known := func(key string, by settings.Delivery) map[string]string {
		return map[string]string{
			key: `{"delivery":"` + string(by) + `","reason":"x","image":"` + signerImage + `","since":"2026-01-02T03:04:05Z"}`,
		}
	}
	const invalid = `failed to create task run pod "build": Pod "build-pod" is invalid: x. Maybe invalid TaskSpec`
	for name, tc := range map[string]struct {
		message  string
		data     map[string]string
		enforced bool
		heard    bool // the keeper has taken the mark
		after    time.Duration
		want     string
	}{
		"the keeper works":             {deniedByPolicy, nil, false, true, trialAnswered - time.Second, ""},
		"the keeper has found nothing": {deniedByPolicy, nil, false, true, trialAnswered, words},
		"the keeper is busy":           {deniedByPolicy, nil, false, false, trialAwaited - time.Second, ""},
		"the keeper is away":           {deniedByPolicy, nil, false, false, trialAwaited, words},
		"the keeper has found it":      {deniedByPolicy, known("ci.trial", delivery.None), false, true, trialAwaited, ""},
		"the keeper has another way": {deniedByPolicy, known("ci.trial", settings.DeliveryInit), false, true, trialAwaited,
			""},
		"left alone before": {deniedByPolicy, known("ci.start", delivery.None), false, true, trialAwaited, ""},
		"enforced":          {deniedByPolicy, nil, true, true, trialAwaited, ""},
		"not valid":         {invalid, nil, false, true, trialAwaited, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rig := newRefusalsRig(t, tc.data)
			rig.enforced = tc.enforced
			rig.refuse(tc.message)
			rig.later(0)
			if tc.heard {
				rig.hears()
			}
			rig.later(tc.after)
			if got := rig.reason(); got != tc.want {
				t.Errorf("left alone because of %q, want %q", got, tc.want)
			}
			var events []string
			var counted []bool
			if tc.want != "" {
				events, counted = []string{ReasonRefused}, []bool{true}
			}
			if diff := cmp.Diff(events, rig.events()) + cmp.Diff(counted, rig.counted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// leftAlone is a rig whose namespace was left alone because of a policy.
func leftAlone(t *testing.T) *refusalsRig {
	t.Helper()
	rig := newRefusalsRig(t, nil)
	rig.refuse(deniedByPolicy)
	rig.later(trialAwaited)
	if rig.reason() == "" {
		t.Fatal("the namespace is not left alone")
	}
	return rig
}

// TestRefusalsTakenBack: a pod without the signer is refused, too. Pods get it again, and for a day nothing of this
// kind changes that.
func TestRefusalsTakenBack(t *testing.T) {
	rig := leftAlone(t)
	rig.refuse(deniedByPolicy) // was under way
	rig.later(leftAloneSince)
	if rig.reason() == "" {
		t.Fatal("a pod that may have had the signer proves that it is not to blame")
	}
	rig.refuse(strings.ReplaceAll(deniedByPolicy, "too many containers", "image "+signerImage))
	rig.later(time.Second)
	if rig.reason() == "" {
		t.Fatal("words that name the signer prove that it is not to blame")
	}
	rig.refuse(deniedByPolicy)
	rig.later(time.Second)
	if rig.reason() != "" {
		t.Fatal("the namespace is still left alone")
	}
	for range 3 {
		rig.refuse(deniedByPolicy)
		rig.later(time.Minute)
	}
	if diff := cmp.Diff([]bool{true, false}, rig.counted); diff != "" || rig.reason() != "" {
		t.Error("left alone again:", diff)
	}
	rig.now = rig.now.Add(refusalHolds)
	rig.refuse(deniedByPolicy)
	rig.later(time.Minute)
	if rig.reason() == "" {
		t.Error("not left alone on another day")
	}
}

// TestRefusalsEnd: what nobody changes ends after a day, and when a trial finds out more.
func TestRefusalsEnd(t *testing.T) {
	rig := leftAlone(t)
	rig.now = rig.now.Add(refusalHolds - time.Minute)
	rig.later(0)
	if rig.reason() == "" {
		t.Error("ended before its time")
	}
	rig.later(time.Minute)
	if rig.reason() != "" {
		t.Error("not ended")
	}
	rig = leftAlone(t)
	rig.now = rig.now.Add(time.Minute)
	trials := delivery.NewStore(rig.client, rig.refusals.View, delivery.Trial, "test")
	found := delivery.Exception{Delivery: settings.DeliveryInit, Reason: "x", Since: rig.now}
	if err := trials.Set(t.Context(), "ci", found); err != nil {
		t.Fatal(err)
	}
	rig.until(func() bool { return len(rig.refusals.View.Table().Entries()) == 2 })
	rig.later(0)
	if rig.reason() != "" {
		t.Error("the trial's way is not taken")
	}
	rig.refuse(deniedByPolicy) // was under way
	rig.later(trialAwaited)
	if rig.reason() != "" {
		t.Error("left alone because of a pod from before the trial")
	}
	rig.refuse(deniedByPolicy)
	rig.later(trialAwaited + refusalInterval)
	if rig.reason() == "" {
		t.Error("the trial's way is refused, too, and the namespace not left alone")
	}
}

// TestRefusalsFull: where no exception can be kept, everybody is told, and nothing is tried for ever.
func TestRefusalsFull(t *testing.T) {
	full := map[string]string{"other.start": strings.Repeat("x", 400<<10), "other.refused": strings.Repeat("x", 200<<10)}
	rig := newRefusalsRig(t, full)
	rig.refuse(deniedByPolicy)
	rig.later(time.Minute)
	if rig.reason() != "" || rig.asked() {
		t.Error("there was room")
	}
	if diff := cmp.Diff([]string{ReasonRefused}, rig.events()); diff != "" || len(rig.counted) != 0 {
		t.Errorf("counted %v; %s", rig.counted, diff)
	}
	if err := rig.refusals.Reconcile(t.Context(), "ci"); err != nil {
		t.Errorf("it goes on: %v", err)
	}
}

// TestRefusalsForget: what is remembered of namespaces goes, and does not grow beyond its bound.
func TestRefusalsForget(t *testing.T) {
	rig := newRefusalsRig(t, nil)
	rig.refuse("not valid")
	rig.later(2 * refusalInterval)
	if n := len(rig.refusals.refused); n != 0 {
		t.Errorf("%d namespaces are remembered for nothing", n)
	}
	for i := range maxBlameless + 10 {
		rig.refusals.remember(fmt.Sprint("n", i))
		rig.now = rig.now.Add(time.Millisecond)
	}
	oldest, newer := rig.refusals.isBlameless("n0"), rig.refusals.isBlameless(fmt.Sprint("n", maxBlameless))
	if n := len(rig.refusals.blameless); n != maxBlameless || oldest || !newer {
		t.Errorf("%d namespaces are remembered, want the last %d", n, maxBlameless)
	}
	rig.refuse(deniedByPolicy)
	rig.refusals.Demote(pkgreconciler.UniversalBucket())
	err := rig.refusals.Reconcile(t.Context(), "ci")
	if !controller.IsSkipKey(err) || len(rig.refusals.refused) != 0 {
		t.Errorf("a replica that does not lead: %v, and it remembers %d namespaces", err, len(rig.refusals.refused))
	}
}

// TestPolicyWords: who has refused a pod, in which words.
func TestPolicyWords(t *testing.T) {
	const tekton = `failed to create task run pod "build": `
	const forbidden, restricted = `pods "build-pod" is forbidden: `, `violates PodSecurity "restricted:latest": `
	const volume = `restricted volume types (volume "tekton-internal-sign")`
	const container = `runAsNonRoot != true (containers "tekton-sign")`
	const constraint = "unable to validate against any security context constraint: [x]"
	const kyverno = `admission webhook "validate.kyverno.svc-fail" denied the request: no. Maybe try`
	const ours = "ValidatingAdmissionPolicy 'tekton-sign-taskrun-pods' with binding 'b' denied request: x"
	r := NewRefusals(RefusalsConfig{Image: signerImage})
	for message, want := range map[string]string{
		deniedByPolicy: policyWords,
		tekton + kyverno + ". Maybe missing or invalid Task ci/build":                               kyverno,
		forbidden + restricted + volume:                                                             restricted + volume,
		forbidden + restricted + container:                                                          restricted + container,
		forbidden + restricted + `privileged (container "step-a")`:                                  "",
		forbidden + constraint:                                                                      constraint,
		tekton + forbidden + ours:                                                                   "",
		tekton + `admission webhook "inject-enforce.tekton-sign.dev" denied the request: x`:         "",
		tekton + forbidden + `error looking up service account ci/a: serviceaccount "a" not found`:  "",
		tekton + forbidden + "exceeded quota: q":                                                    "",
		tekton + `Pod "build-pod" is invalid: spec.containers[0].image: Required value`:             "",
		tekton + `Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": EOF`: "",
		"": "",
	} {
		if got := r.policy(condition{message: message}); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", message, got, want)
		}
	}
}

// TestRefusedLongAgo: what a listing or a late change shows of a TaskRun from before says nothing of the pods of now.
func TestRefusedLongAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(completed any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"completionTime": completed}}}
	}
	for name, tc := range map[string]struct {
		taskRun *unstructured.Unstructured
		want    bool
	}{
		"just now":   {at("2026-01-02T03:04:00Z"), true},
		"long ago":   {at("2026-01-02T03:03:05Z"), false},
		"not at all": {&unstructured.Unstructured{Object: map[string]any{}}, false},
		"no time":    {at(int64(7)), false},
	} {
		if got := failedLately(tc.taskRun, now); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
