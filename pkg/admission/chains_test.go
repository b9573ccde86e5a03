// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"net/http"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const (
	taskRunHead = `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"build","namespace":"ci",` +
		`"uid":"u","resourceVersion":"7"`
	isHeld    = `,"annotations":{"chains.tekton.dev/signed":"failed","tekton-sign.dev/chains":"u: held"}`
	isRunning = `},"status":{"conditions":[{"type":"Succeeded","status":"Unknown"}]}}`
	isDone    = `},"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`
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
		Scope: fakeScope{backend: signing.BackendOIDCSAToken, gate: true}, Now: testNow, Log: zap.NewNop().Sugar(),
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
			taskRunHead + `}}`, taskRunHead +
				`,"annotations":{"tekton-sign.dev/chains":"u: released","chains.tekton.dev/signed":"true"}}}`,
			isHeld + `,"finalizers":["tekton-sign.dev/chains"]}}`,
		},
		"held":            {taskRunHead + isHeld + `}}`, taskRunHead + isHeld + `}}`, ""},
		"held, taken out": {taskRunHead + isHeld + `}}`, taskRunHead + `}}`, ""}, // the policy's business
		"complete":        {taskRunHead + isDone, taskRunHead + isDone, ""},
		"said to be complete": {taskRunHead + isRunning, taskRunHead + isDone,
			isHeld + `,"finalizers":["tekton-sign.dev/chains"]` + isDone},
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

// TestChainsRefuses the write that completes what is not held. In audit that ends by itself: no build breaks for it.
func TestChainsRefuses(t *testing.T) {
	const young, old = `,"creationTimestamp":"2026-03-01T11:59:55Z"`, `,"creationTimestamp":"2026-03-01T11:59:49Z"`
	const short = `},"spec":{"timeout":"30s"},"status":{"conditions":[]}}`
	const shortPipeline = `},"spec":{"timeouts":{"pipeline":"1h","tasks":"59s"}},"status":{"conditions":[]}}`
	const long = `},"spec":{"timeout":"1m0s"},"status":{"conditions":[]}}`
	for name, tc := range map[string]struct {
		old, submitted string
		mode           settings.Enforcement
		code           int32 // 0: allowed
		warnings       int
	}{
		"completes": {old: taskRunHead + young + isRunning, submitted: taskRunHead + isDone,
			code: http.StatusConflict},
		"completes at once": {old: taskRunHead + young + `}}`, submitted: taskRunHead + isDone,
			code: http.StatusConflict},
		"with metadata of a lie": {old: taskRunHead + young + isRunning, submitted: taskRunHead + isHeld + isDone,
			code: http.StatusConflict},
		"nobody held it, audit": {old: taskRunHead + old + isRunning, submitted: taskRunHead + isDone, warnings: 1},
		"nobody held it, enforce": {old: taskRunHead + old + isRunning, submitted: taskRunHead + isDone,
			mode: settings.Enforce, code: http.StatusConflict},
		"no time to wait": {old: taskRunHead + young + short, submitted: taskRunHead + isDone, warnings: 1},
		"no time for the tasks": {old: taskRunHead + young + shortPipeline, submitted: taskRunHead + isDone,
			warnings: 1},
		"no time to wait, enforced": {old: taskRunHead + young + short, submitted: taskRunHead + isDone,
			mode: settings.Enforce, code: http.StatusConflict},
		"time enough": {old: taskRunHead + young + long, submitted: taskRunHead + isDone,
			code: http.StatusConflict},
		"of an age that nobody knows": {old: taskRunHead + isRunning, submitted: taskRunHead + isDone, warnings: 1},

		"nonsense, audit": {old: `[]`, submitted: taskRunHead + isDone, warnings: 1},
		"nonsense, enforce": {old: `[]`, submitted: taskRunHead + isDone, mode: settings.Enforce,
			code: http.StatusInternalServerError},

		"held":     {old: taskRunHead + isHeld + isRunning, submitted: taskRunHead + isDone},
		"runs on":  {old: taskRunHead + isRunning, submitted: taskRunHead + isRunning},
		"was done": {old: taskRunHead + isDone, submitted: taskRunHead + isDone},
	} {
		t.Run(name, func(t *testing.T) {
			handler := &ChainsHandler{
				Scope: fakeScope{backend: signing.BackendOIDCSAToken, gate: true, mode: tc.mode}, Now: testNow,
				Log: zap.NewNop().Sugar(),
			}
			response := handler.Admit(t.Context(), chainsRequest("status", tc.old, tc.submitted))
			if response.Allowed != (tc.code == 0) || (!response.Allowed && response.Result.Code != tc.code) {
				t.Errorf("got %+v, want code %d", response, tc.code)
			}
			if !response.Allowed && tc.code == http.StatusConflict && response.Result.Reason != metav1.StatusReasonConflict {
				t.Errorf("got the reason %s: Tekton's controller repeats a write at once for a conflict only",
					response.Result.Reason)
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
		handler := &ChainsHandler{Scope: scope, Now: testNow, Log: zap.NewNop().Sugar()}
		response := handler.Admit(t.Context(), chainsRequest("", taskRunHead+`}}`, taskRunHead+`}}`))
		if !response.Allowed || len(response.Patch) > 0 {
			t.Errorf("%s: got %v", name, response)
		}
	}
	handler := &ChainsHandler{
		Scope: fakeScope{backend: signing.BackendOIDCSAToken, gate: true}, Now: testNow, Log: zap.NewNop().Sugar(),
	}
	request := chainsRequest("", taskRunHead+`}}`, taskRunHead+`}}`)
	request.Namespace = "elsewhere"
	if response := handler.Admit(t.Context(), request); !response.Allowed || len(response.Patch) > 0 {
		t.Errorf("out of scope: got %v", response)
	}
}
