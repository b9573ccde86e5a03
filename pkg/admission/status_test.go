// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// testPod is the pod of the TaskRun that taskRun returns.
func testPod() *metav1.PartialObjectMetadata {
	yes := true
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "build-pod", Namespace: "ci", UID: "pod-uid",
		OwnerReferences: []metav1.OwnerReference{{Kind: "TaskRun", Name: "build", UID: "tr-uid", Controller: &yes}},
	}}
}

// Pieces of TaskRuns as the API server sends them.
const (
	succeededTrue    = `{"type":"Succeeded","status":"True","reason":"Succeeded","message":"done"}`
	succeededFalse   = `{"type":"Succeeded","status":"False","reason":"TaskRunValidationFailed"}`
	succeededUnknown = `{"type":"Succeeded","status":"Unknown","reason":"Running"}`
	ourTrue          = `{"type":"SignedResultsVerified","status":"True","reason":"TaskRunResultsVerified","message":"judged","lastTransitionTime":"2026-11-23T09:00:00Z"}`
	handMade         = `{"type":"SignedResultsVerified","status":"True","reason":"TaskRunResultsVerified","message":"trust me"}`
	results          = `"results":[{"name":"digest","type":"string","value":"sha256:a"}]`
	signedResults    = `"results":[{"name":"RESULT_MANIFEST","type":"string","value":"v2:"},{"name":"digest","type":"string","value":"sha256:a","unknown":7},{"name":"SIGNING_TOKEN","type":"string","value":"x"}]`
	evilResults      = `"results":[{"name":"digest","type":"string","value":"sha256:evil"}]`
)

// taskRun returns a TaskRun whose status has the given members and conditions.
func taskRun(members string, conditions ...string) string {
	if members != "" {
		members += ","
	}
	return `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"build","namespace":"ci","uid":"tr-uid"},` +
		`"spec":{"serviceAccountName":"default","ofTheFuture":{"a":1}},` +
		`"status":{` + members + `"ofTheFuture":[1,2],"conditions":[` + strings.Join(conditions, ",") + `]}}`
}

const pod = `"podName":"build-pod"`

var (
	resultVerified = verify.Result{
		Verdict: verify.Verified, Backend: signing.BackendOIDCSAToken, Assurance: signing.AssurancePayloadBound,
		Results: []verify.ResultDigest{{Name: "digest"}},
	}
	resultFailed = verify.Result{Verdict: verify.Failed, Reason: "results", Checks: []verify.Check{
		{ID: verify.CheckPod, Status: verify.Pass},
		{
			ID: verify.CheckResults, Status: verify.Fail, Result: "digest", Expected: "sha256:a", Got: "sha256:evil\x1b[2J",
			Message: "status.results shows another value",
		},
	}}
)

// newHandler returns a handler that finds the TaskRun's own pod.
func newHandler(verifier *fakeVerifier) *StatusHandler {
	h := newStatusHandler(verifier)
	h.Pods = fakePods{pod: testPod()}
	return h
}

func request(old, submitted string) *admissionv1.AdmissionRequest {
	return &admissionv1.AdmissionRequest{
		Namespace: "ci", Name: "build",
		OldObject: runtime.RawExtension{Raw: []byte(old)}, Object: runtime.RawExtension{Raw: []byte(submitted)},
	}
}

func decoded(t *testing.T, raw string) fields {
	t.Helper()
	var o fields
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// cond is the condition that the handler is expected to set.
func cond(status, reason, message string) string {
	b, _ := json.Marshal(map[string]string{ //nolint:errchkjson // strings only
		"type": "SignedResultsVerified", "status": status, "reason": reason, "message": message,
		"lastTransitionTime": "2026-03-01T12:00:00Z",
	})
	return string(b)
}

func TestStatus(t *testing.T) {
	condVerified := cond("True", "TaskRunResultsVerified", "VERIFIED: 1 result as signed in the pod, oidc-sa-token, payload-bound")
	condFailed := cond("False", "TaskRunResultsVerificationFailed", `FAILED: results, result digest, expected sha256:a, `+
		`got sha256:evil\x1b[2J: status.results shows another value`)
	awaiting := cond("Unknown", "AwaitingTaskRunResults", "the TaskRun is not completed")
	running := taskRun(pod, succeededUnknown)

	for name, tc := range map[string]struct {
		old, submitted string
		result         verify.Result
		want           string // the stored object
		asked          bool
	}{
		"completing write, verified": {
			old: running, submitted: taskRun(pod+","+results, succeededTrue), result: resultVerified, asked: true,
			want: taskRun(pod+","+results, succeededTrue, condVerified),
		},
		"carriers are taken out, unknown members survive": {
			old: running, submitted: taskRun(pod+","+signedResults, succeededTrue), result: resultVerified, asked: true,
			want: taskRun(pod+`,"results":[{"name":"digest","type":"string","value":"sha256:a","unknown":7}]`,
				succeededTrue, condVerified),
		},
		"nothing but carriers": {
			old: running, asked: true, result: resultVerified,
			submitted: taskRun(pod+`,"results":[{"name":"SIGNING_TOKEN","type":"string","value":"x"}]`, succeededTrue),
			want:      taskRun(pod, succeededTrue, condVerified),
		},
		"failed, carriers stay": {
			old: running, submitted: taskRun(pod+","+signedResults, succeededTrue), result: resultFailed, asked: true,
			want: taskRun(pod+","+signedResults, succeededTrue, condFailed),
		},
		"a condition set by hand in the completing write": {
			old: running, submitted: taskRun(pod+","+evilResults, handMade, succeededTrue), result: resultFailed, asked: true,
			want: taskRun(pod+","+evilResults, condFailed, succeededTrue),
		},
		"a condition set by hand while it ran": {
			old: taskRun(pod, succeededUnknown, handMade), submitted: taskRun(pod, succeededTrue, handMade),
			result: resultFailed, asked: true, want: taskRun(pod, succeededTrue, condFailed),
		},
		"two conditions set by hand": {
			old: running, submitted: taskRun(pod, handMade, succeededTrue, handMade), result: resultFailed, asked: true,
			want: taskRun(pod, condFailed, succeededTrue),
		},
		"nothing judged changed: carried over": {
			old:       taskRun(pod+","+results, succeededTrue, ourTrue),
			submitted: taskRun(pod+`,"provenance":{"a":1},`+results, succeededTrue, ourTrue),
			want:      taskRun(pod+`,"provenance":{"a":1},`+results, succeededTrue, ourTrue),
		},
		"a writer dropped our condition": {
			old:       taskRun(pod+","+results, succeededTrue, ourTrue),
			submitted: taskRun(pod+","+results, succeededTrue), want: taskRun(pod+","+results, succeededTrue, ourTrue),
		},
		"a writer dropped all conditions": {
			old:       taskRun(pod+","+results, succeededTrue, ourTrue),
			submitted: taskRun(pod + "," + results), want: taskRun(pod+","+results, awaiting),
		},
		"a writer changed our condition": {
			old:       taskRun(pod+","+results, succeededTrue, condFailed),
			submitted: taskRun(pod+","+results, succeededTrue, handMade), want: taskRun(pod+","+results, succeededTrue, condFailed),
		},
		"results changed after the verdict": {
			old:       taskRun(pod+","+results, succeededTrue, ourTrue),
			submitted: taskRun(pod+","+evilResults, succeededTrue, ourTrue), result: resultFailed, asked: true,
			want: taskRun(pod+","+evilResults, succeededTrue, condFailed),
		},
		"outcome changed after the verdict": {
			old: taskRun(pod, succeededTrue, ourTrue), submitted: taskRun(pod, succeededFalse, ourTrue), result: resultFailed, asked: true,
			want: taskRun(pod, succeededFalse, condFailed),
		},
		"a writer dropped the whole status": {
			old:       taskRun(pod+","+results, succeededTrue, ourTrue),
			submitted: `{"metadata":{"name":"build"}}`,
			want:      `{"metadata":{"name":"build"},"status":{"conditions":[` + awaiting + `]}}`,
		},
		"nonsense in a field does not hide a condition": {
			old:       running,
			submitted: taskRun(pod, succeededTrue, strings.Replace(handMade, `"TaskRunResultsVerified"`, "7", 1)),
			result:    resultFailed, asked: true, want: taskRun(pod, succeededTrue, condFailed),
		},
		"completion taken back": {
			old:       taskRun(pod+","+results, succeededTrue, ourTrue),
			submitted: taskRun(pod, succeededUnknown, ourTrue), want: taskRun(pod, succeededUnknown, awaiting),
		},
		"neither complete": {old: running, submitted: taskRun(pod, succeededUnknown, handMade), want: taskRun(pod, succeededUnknown, handMade)},
		"nothing to verify": {
			old: running, submitted: taskRun(pod, succeededTrue), asked: true,
			result: verify.Result{Verdict: verify.NoResults}, want: taskRun(pod, succeededTrue),
		},
		"nothing to verify, condition set by hand": {
			old: running, submitted: taskRun(pod, succeededTrue, handMade), asked: true,
			result: verify.Result{Verdict: verify.NoResults}, want: taskRun(pod, succeededTrue),
		},
		"completed without a pod": {
			old: taskRun(""), submitted: taskRun(`"podName":""`, succeededFalse), want: taskRun(`"podName":""`, succeededFalse),
		},
		"completed without a pod, condition set by hand": {
			old: taskRun(""), submitted: taskRun("", succeededFalse, handMade), want: taskRun("", succeededFalse),
		},
		"succeeded without a pod": {
			old: taskRun(""), submitted: taskRun("", succeededTrue), result: resultFailed, asked: true,
			want: taskRun("", succeededTrue, condFailed),
		},
		"traces of the pod removed": {
			old: taskRun(pod+","+results, succeededTrue, ourTrue), submitted: taskRun("", succeededFalse, ourTrue),
			result: resultFailed, asked: true, want: taskRun("", succeededFalse, condFailed),
		},
		"same verdict again: no transition": {
			old:       taskRun(pod+","+results, succeededTrue),
			submitted: taskRun(pod+","+results, succeededTrue, strings.ReplaceAll(condVerified, "12:00", "08:00")),
			result:    resultVerified, asked: true,
			want: taskRun(pod+","+results, succeededTrue, strings.ReplaceAll(condVerified, "12:00", "08:00")),
		},
		"no such verdict": {
			old: running, submitted: taskRun(pod, succeededTrue), asked: true, result: verify.Result{},
			want: taskRun(pod, succeededTrue, cond("False", "TaskRunResultsVerificationFailed", "FAILED: no such verdict")),
		},
		"fields that differ in case": {
			old: running, submitted: taskRun(pod+`,"Results":[]`, succeededTrue),
			want: taskRun(pod+`,"Results":[]`, succeededTrue, cond("False", "TaskRunResultsVerificationFailed",
				`INDETERMINATE: input: reading the TaskRun: field "status.Results" differs from "results" in case`)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: tc.result}
			response := newHandler(verifier).Admit(t.Context(), request(tc.old, tc.submitted))
			if diff := cmp.Diff(decoded(t, tc.want), stored(t, response, runtime.RawExtension{Raw: []byte(tc.submitted)})); diff != "" {
				t.Errorf("stored object (-want +got):\n%s", diff)
			}
			if got := verifier.calls > 0; got != tc.asked {
				t.Errorf("verifier asked: got %v, want %v", got, tc.asked)
			}
		})
	}
}

// TestStatusJudgesWhatIsStored submits another spec, name and UID with the status: the API server will store none of them.
func TestStatusJudgesWhatIsStored(t *testing.T) {
	submitted := strings.NewReplacer(`"uid":"tr-uid"`, `"uid":"other"`, `"name":"build"`, `"name":"other"`,
		`"serviceAccountName":"default"`, `"managedBy":"somebody.else"`).Replace(taskRun(pod+","+results, succeededTrue, handMade))
	verifier := &fakeVerifier{result: resultFailed}
	newHandler(verifier).Admit(t.Context(), request(taskRun(pod, succeededUnknown), submitted))
	if verifier.calls != 1 {
		t.Fatalf("the TaskRun was not judged: a spec.managedBy that is not stored kept it away")
	}
	tr := verifier.taskRun
	if tr.Name != "build" || tr.UID != "tr-uid" || tr.Spec.ManagedBy != nil || len(tr.Status.Results) != 1 {
		t.Errorf("judged %s (%s), managed by %v, with %d results; want the old object with the new status",
			tr.Name, tr.UID, tr.Spec.ManagedBy, len(tr.Status.Results))
	}
	if c := tr.Status.GetCondition(verify.ConditionType); c != nil {
		t.Errorf("the verifier was shown the condition %v", c)
	}
}

func TestStatusLooksAtPod(t *testing.T) {
	for name, tc := range map[string]struct {
		pods fakePods
		want *verify.PodFacts
	}{
		"its own":     {fakePods{pod: testPod()}, &verify.PodFacts{Found: true, UID: "pod-uid", ControllerUID: "tr-uid"}},
		"gone":        {fakePods{err: apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "build-pod")}, &verify.PodFacts{}},
		"unreachable": {fakePods{err: errors.New("timeout")}, nil},
		"without owner": {
			fakePods{pod: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "build-pod", UID: "x"}}},
			&verify.PodFacts{Found: true, UID: "x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: resultFailed}
			h := newHandler(verifier)
			h.Pods = tc.pods
			h.Admit(t.Context(), request(taskRun(pod, succeededUnknown), taskRun(pod, succeededTrue)))
			want := verify.Facts{Live: true, RequirePod: true, Pod: tc.want}
			if diff := cmp.Diff(want, verifier.facts); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOutOfScope(t *testing.T) {
	completing := request(taskRun(pod, succeededUnknown), taskRun(pod, succeededTrue))
	elsewhere := completing.DeepCopy()
	elsewhere.Namespace = "other"
	foreign := request(strings.Replace(taskRun(pod, succeededUnknown), `"serviceAccountName":"default"`, `"managedBy":"kueue"`, 1),
		taskRun(pod, succeededTrue))
	for name, tc := range map[string]struct {
		request *admissionv1.AdmissionRequest
		scope   fakeScope
		warning string
	}{
		"signing is off":        {completing, fakeScope{backend: signing.BackendNone}, ""},
		"other namespace":       {elsewhere, fakeScope{backend: signing.BackendOIDCSAToken}, ""},
		"run by somebody else":  {foreign, fakeScope{backend: signing.BackendOIDCSAToken}, ""},
		"starting":              {completing, fakeScope{backend: signing.BackendOIDCSAToken, starting: true}, "is starting"},
		"garbage as object":     {request(taskRun(pod, succeededUnknown), `[]`), fakeScope{backend: signing.BackendOIDCSAToken}, "reading the object"},
		"garbage as conditions": {request(`{"status":{"conditions":7}}`, `{}`), fakeScope{backend: signing.BackendOIDCSAToken}, "conditions"},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: resultFailed}
			h := newHandler(verifier)
			h.Scope = tc.scope
			response := h.Admit(t.Context(), tc.request)
			checkUntouched(t, response, tc.warning)
			if verifier.calls > 0 {
				t.Error("the verifier was asked")
			}
		})
	}
}

func TestStatusFailsClosed(t *testing.T) {
	submitted := taskRun(pod, succeededTrue, handMade)
	h := newHandler(&fakeVerifier{err: errors.New("the issuer's keys are not known yet")})
	response := h.Admit(t.Context(), request(taskRun(pod, succeededUnknown), submitted))
	want := taskRun(pod, succeededTrue, cond("False", "TaskRunResultsVerificationFailed",
		"INDETERMINATE: key: the issuer's keys are not known yet"))
	if diff := cmp.Diff(decoded(t, want), stored(t, response, runtime.RawExtension{Raw: []byte(submitted)})); diff != "" {
		t.Errorf("without keys (-want +got):\n%s", diff)
	}
	h = newHandler(&fakeVerifier{panics: true})
	checkUntouched(t, h.Admit(t.Context(), request(taskRun(pod, succeededUnknown), submitted)), "internal error")
}

func TestFailureMessageIsBounded(t *testing.T) {
	long := strings.Repeat("é\x00", 5000)
	r := verify.Result{Verdict: verify.Failed, Reason: "results", Checks: []verify.Check{
		{ID: verify.CheckResults, Status: verify.Fail, Result: long, Expected: long, Got: long, Message: long},
	}}
	got := conditionFor(r, testNow()).Message
	if len(got) > maxMessage || !strings.HasPrefix(got, "FAILED: results, result é") || strings.ContainsRune(got, 0) {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}

// checkUntouched wants a request to have passed without a patch, with a warning that holds the given words, or none.
func checkUntouched(t *testing.T, response *admissionv1.AdmissionResponse, warning string) {
	t.Helper()
	if !response.Allowed || response.Patch != nil {
		t.Errorf("got allowed %v and patch %s, want the request to pass unchanged", response.Allowed, response.Patch)
	}
	got := strings.Join(response.Warnings, "\n")
	if (warning == "") != (got == "") || !strings.Contains(got, warning) {
		t.Errorf("warnings: got %q, want one with %q", got, warning)
	}
}

func TestWarningIsBoundedAndWhole(t *testing.T) {
	warning := allowWithWarning("%s", strings.Repeat("é", 500)).Warnings[0]
	if len(warning) > maxWarning || !utf8.ValidString(warning) {
		t.Errorf("got %d bytes, valid UTF-8 %v", len(warning), utf8.ValidString(warning))
	}
}
