// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// A TaskRun that Tekton refused before it made a pod has nothing that could be signed.
func TestNothingRan(t *testing.T) {
	nothing := func(s fields) {
		for name := range s {
			if name != "conditions" {
				delete(s, name)
			}
		}
	}
	verifier := &fakeVerifier{result: verified()}
	request := statusWrite(t, run("Unknown", nothing), run("False", nothing))
	after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
	if ours := ourConditions(after); len(ours) != 0 || verifier.calls != 0 {
		t.Errorf("verified %d times, conditions %v", verifier.calls, ours)
	}
	// A writer who empties the status of one that had a pod does not get away with it.
	request = statusWrite(t, run("Unknown", nil), run("False", nothing))
	newStatusHandler(verifier).Admit(t.Context(), request)
	if verifier.calls != 1 {
		t.Error("not verified although there was a pod")
	}
}

func TestCarriersLeaveResultsOnlyWhenVerified(t *testing.T) {
	mixed := func(s fields) {
		s["results"] = []any{
			fields{"name": "RESULT_MANIFEST", "type": "string", "value": "x"},
			fields{"name": "digest", "type": "string", "value": "sha256:1", "later": "field"},
			fields{"name": "SIGNING_TOKEN", "type": "string", "value": "y"},
		}
	}
	only := func(s fields) { s["results"] = []any{fields{"name": "SIGNING_TOKEN", "value": "y"}} }
	resultsOf := func(object fields) any { return object["status"].(fields)["results"] }
	digest := fields{"name": "digest", "type": "string", "value": "sha256:1", "later": "field"}
	tests := map[string]struct {
		verdict verify.Verdict
		change  func(fields)
		want    any
	}{
		"verified":               {verify.Verified, mixed, []any{digest}},
		"verified, nothing else": {verify.Verified, only, nil},
		"failed":                 {verify.Failed, mixed, resultsOf(run("True", mixed))},
		"indeterminate":          {verify.Indeterminate, mixed, resultsOf(run("True", mixed))},
		"unsigned":               {verify.Unsigned, only, resultsOf(run("True", only))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			request := statusWrite(t, run("Unknown", nil), run("True", tt.change))
			handler := newStatusHandler(&fakeVerifier{result: verify.Result{Verdict: tt.verdict}})
			after := stored(t, handler.Admit(t.Context(), request), request.Object)
			if diff := cmp.Diff(tt.want, resultsOf(after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The patch touches the conditions and the seal and nothing else, so that fields of later versions survive.
func TestUnknownFieldsSurvive(t *testing.T) {
	submitted := run("True", func(s fields) {
		s["conditions"].([]any)[0].(fields)["severity"] = "Later"
		s["steps"].([]any)[0].(fields)["later"] = fields{"of": "a step"}
	})
	submitted["later"] = "field"
	request := statusWrite(t, run("Unknown", nil), submitted)
	response := newStatusHandler(&fakeVerifier{result: verified()}).Admit(t.Context(), request)
	if !strings.HasPrefix(string(response.Patch), `[{"op":"add","path":"/status/conditions",`) ||
		strings.Count(string(response.Patch), `"op"`) != 2 {
		t.Errorf("patch %s", response.Patch)
	}
	after := withoutSeal(t, stored(t, response, request.Object))
	conditions := after["status"].(fields)["conditions"].([]any)
	after["status"].(fields)["conditions"] = conditions[:1]
	want := stored(t, &admissionv1.AdmissionResponse{Allowed: true}, request.Object)
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
}

func TestStatusWritesLeftAlone(t *testing.T) {
	managedBy := func(who string) fields {
		old := run("Unknown", nil)
		old["spec"] = fields{"managedBy": who}
		return old
	}
	on := fakeScope{backend: signing.BackendOIDCSAToken}
	running, done := run("Unknown", nil), run("True", nil)
	tests := map[string]struct {
		scope          fakeScope
		namespace      string
		old, submitted fields
		warnings       []string
	}{
		"out of scope":    {on, "other", running, done, nil},
		"backend none":    {fakeScope{backend: signing.BackendNone}, "ci", running, done, nil},
		"foreign manager": {on, "ci", managedBy("example.com/other"), done, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: verified()}
			handler := newStatusHandler(verifier)
			handler.Scope = tt.scope
			request := statusWrite(t, tt.old, tt.submitted)
			request.Namespace = tt.namespace
			want := &admissionv1.AdmissionResponse{Allowed: true, Warnings: tt.warnings}
			if diff := cmp.Diff(want, handler.Admit(t.Context(), request)); diff != "" {
				t.Error(diff)
			}
			if verifier.calls != 0 {
				t.Error("verified")
			}
		})
	}
	t.Run("Tekton by its name", func(t *testing.T) {
		verifier := &fakeVerifier{result: verified()}
		newStatusHandler(verifier).Admit(t.Context(), statusWrite(t, managedBy("tekton.dev/pipeline"), done))
		if verifier.calls != 1 {
			t.Error("not verified")
		}
	})
}

// In audit mode nothing keeps a TaskRun from being written.
func TestTroubleNeverRefusesAWrite(t *testing.T) {
	good, done := raw(t, run("Unknown", nil)).Raw, raw(t, run("True", nil)).Raw
	tests := map[string]struct {
		verifier    *fakeVerifier
		object, old []byte
		warning     string
	}{
		"panic":          {&fakeVerifier{panics: true}, done, good, "internal error"},
		"garbage":        {&fakeVerifier{}, []byte("\x1b[2K"), good, "reading the object"},
		"no old object":  {&fakeVerifier{}, done, nil, "old object"},
		"status no map":  {&fakeVerifier{}, []byte(`{"status":5}`), good, "reading the status"},
		"conditions odd": {&fakeVerifier{}, []byte(`{"status":{"conditions":{}}}`), good, "reading status.conditions"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			response := newStatusHandler(tt.verifier).Admit(t.Context(), &admissionv1.AdmissionRequest{
				Namespace: "ci", Name: "build", Object: runtime.RawExtension{Raw: tt.object},
				OldObject: runtime.RawExtension{Raw: tt.old},
			})
			if !response.Allowed || response.Patch != nil || len(response.Warnings) != 1 {
				t.Fatalf("allowed %v, patch %s, warnings %q", response.Allowed, response.Patch, response.Warnings)
			}
			w := response.Warnings[0]
			if !strings.Contains(w, tt.warning) || strings.Contains(w, "\x1b") {
				t.Errorf("warning %q, want %q in it", w, tt.warning)
			}
		})
	}
}

func TestWarningIsBounded(t *testing.T) {
	for shift := range 3 { // the cut falls on every byte of a character
		w := allowWithWarning("%s", strings.Repeat("x", shift)+strings.Repeat("日", 200)).Warnings[0]
		if len(w) > 250 || !utf8.ValidString(w) {
			t.Errorf("%d bytes: %q", len(w), w)
		}
	}
}

// What cannot be judged must not leave a condition standing that somebody set by hand.
func TestWhatCannotBeJudgedIsIndeterminate(t *testing.T) {
	tests := map[string]struct {
		verifier *fakeVerifier
		change   func(fields)
		message  string
	}{
		"no keys": {&fakeVerifier{err: errors.New("the keys are not known yet")}, nil,
			"INDETERMINATE: key: the keys are not known yet"},
		"no TaskRun": {&fakeVerifier{result: verified()}, func(s fields) { s["results"] = []any{fields{"name": 7}} },
			"INDETERMINATE: input: reading the TaskRun: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			request := statusWrite(t, run("Unknown", nil), run("True", func(s fields) {
				withOurs("True")(s)
				if tt.change != nil {
					tt.change(s)
				}
			}))
			ours := ourConditions(stored(t, newStatusHandler(tt.verifier).Admit(t.Context(), request), request.Object))
			if len(ours) != 1 || ours[0]["status"] != "False" || !strings.HasPrefix(ours[0]["message"].(string), tt.message) {
				t.Errorf("conditions %v, want the message %q", ours, tt.message)
			}
		})
	}
}

// Of a status write the API server stores the status only: whatever else the request says is not what Tekton ran.
func TestVerifierSeesWhatWillBeStored(t *testing.T) {
	submitted := run("True", nil)
	submitted["metadata"] = fields{"namespace": "ci", "name": "build", "uid": "00000000-0000-4000-8000-000000000000"}
	submitted["spec"] = fields{"taskRef": fields{"name": "harmless"}}
	verifier := &fakeVerifier{result: verified()}
	newStatusHandler(verifier).Admit(t.Context(), statusWrite(t, run("Unknown", nil), submitted))
	tr := verifier.taskRun
	if tr.UID != runUID || tr.Spec.TaskRef.Name != "build" || !tr.IsSuccessful() || tr.Status.PodName != "build-pod" {
		t.Errorf("verified %+v", tr)
	}
	if want := (Rules{Tokens: verify.Tokens{Audience: "lab-prefix", Lifetime: signing.DefaultTokenLifetime},
		Receipts: true}); verifier.rules != want {
		t.Errorf("rules of tokens %+v, want %+v", verifier.rules, want)
	}
}

func TestPodFacts(t *testing.T) {
	yes := true
	pod := func(owners ...metav1.OwnerReference) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: podUID, OwnerReferences: owners}}
	}
	noPod := func(s fields) { delete(s, "podName") }
	notFound := apierrors.NewNotFound(corev1.Resource("pods"), "build-pod")
	forbidden := apierrors.NewForbidden(corev1.Resource("pods"), "build-pod", nil)
	tests := map[string]struct {
		pods   fakePods
		change func(fields)
		want   *verify.PodFacts // nil: nobody looked
	}{
		"found": {
			fakePods{pod: pod(metav1.OwnerReference{APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: runUID,
				Controller: &yes})}, nil,
			&verify.PodFacts{Found: true, UID: podUID, ControllerUID: runUID, Reported: &verify.Reported{}},
		},
		"owner but no controller": {
			fakePods{pod: pod(metav1.OwnerReference{UID: runUID})}, nil, &verify.PodFacts{Found: true, UID: podUID,
				Reported: &verify.Reported{}},
		},
		"not found": {fakePods{err: notFound}, nil, &verify.PodFacts{}},
		"no name":   {fakePods{err: errors.New("nobody may ask")}, noPod, &verify.PodFacts{}},
		"no answer": {fakePods{err: context.DeadlineExceeded}, nil, nil},
		"forbidden": {fakePods{err: forbidden}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: verified()}
			handler := newStatusHandler(verifier)
			handler.Pods = tt.pods
			handler.Since = func(string) (time.Time, bool) { return time.Time{}.Add(-time.Second), true }
			handler.Admit(t.Context(), statusWrite(t, run("Unknown", nil), run("True", tt.change)))
			if diff := cmp.Diff(verify.Facts{Live: true, RequirePod: true, Pod: tt.want}, verifier.facts); diff != "" {
				t.Error(diff)
			}
		})
	}
}
