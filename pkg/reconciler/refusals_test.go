// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
