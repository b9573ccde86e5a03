// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

const (
	runUID = "6340374f-3a88-4ff2-812e-c155a2d8e142"
	podUID = "3db15e48-971f-4815-84b3-272e52f61a10"
	tekton = "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"
	addOn  = "system:serviceaccount:tekton-sign:controller"
)

type fakeScope struct {
	starting bool
	backend  signing.Backend
	prefix   string // of audiences, "lab-prefix" if empty
	mode     settings.Enforcement
	material bool // is kept
	gate     bool // in front of Chains
	logs     bool // of the results sidecar are read
	signer   settings.Signer
	minimum  signing.Format
}

func (f fakeScope) Ready() bool { return !f.starting }

func (f fakeScope) Settings() settings.Settings {
	s := settings.Default()
	s.Backend, s.Tokens.Audience, s.KeepMaterial = f.backend, cmp.Or(f.prefix, "lab-prefix"), f.material
	s.GateChains, s.SidecarLogs, s.MinimumFormat = f.gate, f.logs, f.minimum
	s.SPIRE.Signer = cmp.Or(f.signer, s.SPIRE.Signer)
	return s
}

func (f fakeScope) Enforcement(string) settings.Enforcement { return cmp.Or(f.mode, settings.Audit) }

func (f fakeScope) InScope(namespace string) bool { return namespace == "ci" }

// fakeVerifier answers always the same and keeps what it was asked.
type fakeVerifier struct {
	result verify.Result
	err    error
	panics bool

	calls   int
	rules   Rules
	taskRun *v1.TaskRun
	facts   verify.Facts
}

func (f *fakeVerifier) TaskRun(_ context.Context, rules Rules, tr *v1.TaskRun, facts verify.Facts) (verify.Result,
	error) {
	if f.panics {
		panic("out of order")
	}
	f.calls++
	f.rules, f.taskRun, f.facts = rules, tr, facts
	return f.result, f.err
}

type fakePods struct {
	pod    *metav1.PartialObjectMetadata
	err    error
	log    string
	logErr error
}

func (f fakePods) Get(context.Context, string, string, bool) (*corev1.Pod, error) {
	if f.pod == nil {
		return nil, f.err
	}
	return &corev1.Pod{ObjectMeta: f.pod.ObjectMeta}, f.err
}

func (f fakePods) Log(context.Context, string, string, string, int64) ([]byte, error) {
	return []byte(f.log), f.logErr
}

func testNow() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func newStatusHandler(v *fakeVerifier) *StatusHandler {
	yes := true
	pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		UID: podUID, CreationTimestamp: metav1.NewTime(testNow()),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: runUID,
			Controller: &yes}},
	}}
	return &StatusHandler{
		Scope: fakeScope{backend: signing.BackendOIDCSAToken}, Accounts: Accounts{Tekton: tekton, AddOn: addOn}, Verifier: v,
		Pods: fakePods{pod: pod}, Now: testNow,
		SealKey: testKey, Since: func(string) (time.Time, bool) { return time.Time{}, false }, Log: quiet(),
	}
}

// testKey is the key of the replicas.
func testKey() seal.Key {
	key, err := seal.ParseKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		panic(err)
	}
	return key
}

// sealed returns the TaskRun with a seal of the add-on's over it as it is.
func sealed(object fields) fields {
	return sealedWith(object, testKey(), seal.Facts{Verdict: "VERIFIED", At: testNow()})
}

func sealedWith(object fields, key seal.Key, facts seal.Facts) fields {
	object = maps.Clone(object)
	status := maps.Clone(object["status"].(fields))
	object["status"] = status
	annotations := fields{}
	if have, ok := status["annotations"].(fields); ok {
		annotations = maps.Clone(have)
	}
	status["annotations"] = annotations
	if recorded, ok := annotations[record.Annotation].(string); ok {
		facts.Record = seal.RecordDigest(recorded)
	}
	of, err := seal.SubjectOf(&unstructured.Unstructured{Object: object})
	if err != nil {
		panic(err)
	}
	if annotations[seal.Annotation], err = seal.Make(key, of, facts); err != nil {
		panic(err)
	}
	return object
}

// quiet is a logger that keeps its mouth shut.
func quiet() *zap.SugaredLogger { return zap.NewNop().Sugar() }

type fields = map[string]any

// stored returns what the API server stores: object with the response's patch applied to it.
func stored(t *testing.T, response *admissionv1.AdmissionResponse, object runtime.RawExtension) fields {
	t.Helper()
	if !response.Allowed {
		t.Fatal("the request was refused")
	}
	content := object.Raw
	if response.Patch != nil {
		if response.PatchType == nil || *response.PatchType != admissionv1.PatchTypeJSONPatch {
			t.Fatalf("patch type %v", response.PatchType)
		}
		patch, err := jsonpatch.DecodePatch(response.Patch)
		if err != nil {
			t.Fatal(err)
		}
		if content, err = patch.Apply(content); err != nil {
			t.Fatalf("the API server could not apply %s: %v", response.Patch, err)
		}
	}
	var after fields
	if err := json.Unmarshal(content, &after); err != nil {
		t.Fatal(err)
	}
	return after
}

func verified() verify.Result {
	return verify.Result{
		Verdict: verify.Verified, Backend: signing.BackendOIDCSAToken, Assurance: "identity",
		Results: []verify.ResultDigest{{Name: "digest", Verified: true}},
	}
}

func succeededIs(status string) fields {
	return fields{"type": "Succeeded", "status": status, "reason": "AnyReason"}
}

// oursIs is a condition of the add-on's type that somebody wrote.
func oursIs(status string) fields {
	return fields{
		"type": "SignedResultsVerified", "status": status, "reason": "Whatever", "message": "by hand",
		"lastTransitionTime": "2020-01-01T00:00:00Z",
	}
}

// run returns a TaskRun as JSON values. change is applied to its status.
func run(succeeded string, change func(status fields)) fields {
	status := fields{
		"podName":    "build-pod",
		"startTime":  "2026-03-01T11:00:00Z",
		"conditions": []any{succeededIs(succeeded)},
		"steps":      []any{fields{"name": "make", "container": "step-make"}},
		"results":    []any{fields{"name": "digest", "type": "string", "value": "sha256:1"}},
		"future":     fields{"of": "a later version"},
	}
	if change != nil {
		change(status)
	}
	return fields{
		"apiVersion": "tekton.dev/v1", "kind": "TaskRun",
		"metadata": fields{"namespace": "ci", "name": "build", "uid": runUID},
		"spec":     fields{"taskRef": fields{"name": "build"}},
		"status":   status,
	}
}

func withOurs(status string) func(fields) {
	return func(s fields) { s["conditions"] = append(s["conditions"].([]any), oursIs(status)) }
}

func raw(t *testing.T, object fields) runtime.RawExtension {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: b}
}

// statusWrite is a write by Tekton's controller.
func statusWrite(t *testing.T, old, submitted fields) *admissionv1.AdmissionRequest {
	t.Helper()
	return &admissionv1.AdmissionRequest{
		Namespace: "ci", Name: "build", OldObject: raw(t, old), Object: raw(t, submitted),
		UserInfo: authenticationv1.UserInfo{Username: tekton},
	}
}

// ourConditions lists the conditions of the add-on's type in a TaskRun.
func ourConditions(object fields) []fields {
	var found []fields
	status, _ := object["status"].(fields)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if c, ok := c.(fields); ok && c["type"] == "SignedResultsVerified" {
			found = append(found, c)
		}
	}
	return found
}

// statusWriteRaw is a write by Tekton's controller that changes nothing.
func statusWriteRaw(object []byte) *admissionv1.AdmissionRequest {
	return &admissionv1.AdmissionRequest{
		Namespace: "ci", Name: "build", OldObject: runtime.RawExtension{Raw: object},
		Object:   runtime.RawExtension{Raw: object},
		UserInfo: authenticationv1.UserInfo{Username: tekton},
	}
}
