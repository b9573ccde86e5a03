// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"net/http"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// fakePatcher keeps what it was asked to change.
type fakePatcher struct {
	patches []string
	err     error
}

func (f *fakePatcher) Patch(_ context.Context, r schema.GroupVersionResource, namespace, name string, patch []byte) error {
	f.patches = append(f.patches, r.String()+" "+namespace+"/"+name+" "+string(patch))
	return f.err
}

const (
	taskRunHead = `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"build","namespace":"ci","uid":"u","resourceVersion":"7"`
	isHeld      = `,"annotations":{"chains.tekton.dev/signed":"failed","tekton-sign.dev/chains":"u: held"}`
	isRunning   = `},"status":{"conditions":[{"type":"Succeeded","status":"Unknown"}]}}`
	isDone      = `},"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`
)

func chainsRequest(subresource, old, submitted string) *admissionv1.AdmissionRequest {
	return &admissionv1.AdmissionRequest{
		Namespace: "ci", Name: "build", SubResource: subresource,
		Resource:  metav1.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"},
		OldObject: runtime.RawExtension{Raw: []byte(old)}, Object: runtime.RawExtension{Raw: []byte(submitted)},
	}
}

func TestChainsHolds(t *testing.T) {
	handler := &ChainsHandler{
		Scope: fakeScope{backend: signing.BackendOIDCSAToken, gate: true}, Objects: &fakePatcher{}, Now: testNow, Log: zap.NewNop().Sugar(),
	}
	for name, tc := range map[string]struct{ old, submitted, want string }{
		"first write": {
			taskRunHead + `}}`, taskRunHead + `,"annotations":{"a":"b"},"finalizers":["chains.tekton.dev/taskrun"]}}`,
			`,"annotations":{"a":"b","chains.tekton.dev/signed":"failed","tekton-sign.dev/chains":"u: held"},` +
				`"finalizers":["chains.tekton.dev/taskrun","tekton-sign.dev/chains"]}}`,
		},
		"no annotations at all": {
			taskRunHead + `}}`, taskRunHead + `}}`, isHeld + `,"finalizers":["tekton-sign.dev/chains"]}}`,
		},
		"with a marker of its own": {
			taskRunHead + `}}`, taskRunHead + `,"annotations":{"tekton-sign.dev/chains":"u: released","chains.tekton.dev/signed":"true"}}}`,
			isHeld + `,"finalizers":["tekton-sign.dev/chains"]}}`,
		},
		"held":                       {taskRunHead + isHeld + `}}`, taskRunHead + isHeld + `}}`, ""},
		"held, taken out":            {taskRunHead + isHeld + `}}`, taskRunHead + `}}`, ""}, // the policy's business
		"complete":                   {taskRunHead + isDone, taskRunHead + isDone, ""},
		"said to be complete":        {taskRunHead + isRunning, taskRunHead + isDone, isHeld + `,"finalizers":["tekton-sign.dev/chains"]` + isDone},
		"being deleted, and running": {taskRunHead + `,"deletionTimestamp":"2026-05-04T11:00:00Z"}}`, taskRunHead + `}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			response := handler.Admit(t.Context(), chainsRequest("", tc.old, tc.submitted))
			if !response.Allowed || len(response.Warnings) > 0 {
				t.Fatalf("got %v, want it to be allowed", response)
			}
			if tc.want == "" {
				if len(response.Patch) > 0 {
					t.Errorf("got the patch %s", response.Patch)
				}
				return
			}
			patch, err := jsonpatch.DecodePatch(response.Patch)
			if err != nil {
				t.Fatal(err)
			}
			got, err := patch.Apply([]byte(tc.submitted))
			if err != nil {
				t.Fatal(err)
			}
			if !jsonpatch.Equal(got, []byte(taskRunHead+tc.want)) {
				t.Errorf("got %s\nwant %s", got, taskRunHead+tc.want)
			}
		})
	}
}

// TestChainsRefuses the write that completes what is not held, once the hold was placed.
func TestChainsRefuses(t *testing.T) {
	const placed = `tekton.dev/v1, Resource=taskruns ci/build {"metadata":{"annotations":{"chains.tekton.dev/signed":"failed",` +
		`"tekton-sign.dev/chains":"u: held"},"finalizers":["tekton-sign.dev/chains"],"resourceVersion":"7","uid":"u"}}`
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "taskruns"}, "build", errors.New("changed"))
	other := errors.New("out of order")
	for name, tc := range map[string]struct {
		old, submitted string
		mode           settings.Enforcement
		dryRun         bool
		err            error
		code           int32 // 0: allowed
		patches        []string
		warnings       int
	}{
		"completes":              {old: taskRunHead + isRunning, submitted: taskRunHead + isDone, code: http.StatusConflict, patches: []string{placed}},
		"completes at once":      {old: taskRunHead + `}}`, submitted: taskRunHead + isDone, code: http.StatusConflict, patches: []string{placed}},
		"with metadata of a lie": {old: taskRunHead + isRunning, submitted: taskRunHead + isHeld + isDone, code: http.StatusConflict, patches: []string{placed}},
		"as a dry run":           {old: taskRunHead + isRunning, submitted: taskRunHead + isDone, dryRun: true, code: http.StatusConflict},
		"somebody was faster": {
			old: taskRunHead + isRunning, submitted: taskRunHead + isDone, err: conflict, code: http.StatusConflict, patches: []string{placed},
		},
		"audit breaks no build": {
			old: taskRunHead + isRunning, submitted: taskRunHead + isDone, err: other, patches: []string{placed}, warnings: 1,
		},
		"enforce lets nothing pass": {
			old: taskRunHead + isRunning, submitted: taskRunHead + isDone, mode: settings.Enforce, err: other,
			code: http.StatusInternalServerError, patches: []string{placed},
		},
		"nonsense, audit":   {old: `[]`, submitted: taskRunHead + isDone, warnings: 1},
		"nonsense, enforce": {old: `[]`, submitted: taskRunHead + isDone, mode: settings.Enforce, code: http.StatusInternalServerError},

		"held":     {old: taskRunHead + isHeld + isRunning, submitted: taskRunHead + isDone},
		"runs on":  {old: taskRunHead + isRunning, submitted: taskRunHead + isRunning},
		"was done": {old: taskRunHead + isDone, submitted: taskRunHead + isDone},
	} {
		t.Run(name, func(t *testing.T) {
			patcher := &fakePatcher{err: tc.err}
			handler := &ChainsHandler{
				Scope:   fakeScope{backend: signing.BackendOIDCSAToken, gate: true, mode: tc.mode},
				Objects: patcher, Now: testNow, Log: zap.NewNop().Sugar(),
			}
			request := chainsRequest("status", tc.old, tc.submitted)
			request.DryRun = &tc.dryRun
			response := handler.Admit(t.Context(), request)
			if response.Allowed != (tc.code == 0) || (!response.Allowed && response.Result.Code != tc.code) {
				t.Errorf("got %+v, want code %d", response, tc.code)
			}
			if !response.Allowed && tc.code == http.StatusConflict && response.Result.Reason != metav1.StatusReasonConflict {
				t.Errorf("got the reason %s: Tekton's controller repeats a write at once for a conflict only", response.Result.Reason)
			}
			if diff := cmp.Diff(tc.patches, patcher.patches); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if len(response.Warnings) != tc.warnings || len(response.Patch) > 0 {
				t.Errorf("got warnings %q and patch %s", response.Warnings, response.Patch)
			}
		})
	}
}

func TestChainsGateClosed(t *testing.T) {
	for name, scope := range map[string]fakeScope{
		"gate off":    {backend: signing.BackendOIDCSAToken},
		"signing off": {backend: signing.BackendNone, gate: true},
	} {
		handler := &ChainsHandler{Scope: scope, Objects: &fakePatcher{}, Now: testNow, Log: zap.NewNop().Sugar()}
		response := handler.Admit(t.Context(), chainsRequest("", taskRunHead+`}}`, taskRunHead+`}}`))
		if !response.Allowed || len(response.Patch) > 0 {
			t.Errorf("%s: got %v", name, response)
		}
	}
	handler := &ChainsHandler{
		Scope: fakeScope{backend: signing.BackendOIDCSAToken, gate: true}, Objects: &fakePatcher{}, Now: testNow, Log: zap.NewNop().Sugar(),
	}
	request := chainsRequest("", taskRunHead+`}}`, taskRunHead+`}}`)
	request.Namespace = "elsewhere"
	if response := handler.Admit(t.Context(), request); !response.Allowed || len(response.Patch) > 0 {
		t.Errorf("out of scope: got %v", response)
	}
}
