// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/objectsize"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// stores is the most that is stored of the TaskRun in these tests.
func stores() int { return objectsize.Stored("ci", "build") }

func sizeOf(t *testing.T, object fields) int { return len(raw(t, object).Raw) }

// grown returns the object with a member of its status that brings it to that many bytes.
func grown(t *testing.T, object fields, bytes int) fields {
	t.Helper()
	status := object["status"].(fields)
	status["future"] = ""
	status["future"] = strings.Repeat("x", bytes-sizeOf(t, object))
	return object
}

// withResult returns the object with a result that brings it to that many bytes.
func withResult(t *testing.T, object fields, bytes int) fields {
	t.Helper()
	result := fields{"name": "digest", "type": "string", "value": ""}
	object["status"].(fields)["results"] = []any{result}
	result["value"] = strings.Repeat("x", bytes-sizeOf(t, object))
	return object
}

func resultsOf(object fields) any { return object["status"].(fields)["results"] }

// In audit a TaskRun that is as large as the API server takes completes, without what the add-on would add.
func TestNoRoomInAudit(t *testing.T) {
	for name, found := range map[string]verify.Result{"verified": verified(), "failed": failing(verify.Failed)} {
		for bytes, room := range map[int]bool{
			stores() - 20_000: true, stores() - 2_000: true, stores() - 100: false, stores(): false,
			stores() + 200: false, // of the margin
		} {
			submitted := withResult(t, run("True", withOurs("Unknown")), bytes)
			request := statusWrite(t, run("Unknown", withOurs("Unknown")), submitted)
			response := newStatusHandler(&fakeVerifier{result: found}).Admit(t.Context(), request)
			after := stored(t, response, request.Object)
			if got := len(ourConditions(after)) == 1 && sealOf(after) != nil; got != room {
				t.Errorf("%s, %d bytes: conditions %v, seal %v", name, bytes, ourConditions(after), sealOf(after))
			}
			if room == (len(response.Warnings) == 1) {
				t.Errorf("%s, %d bytes: warnings %q", name, bytes, response.Warnings)
			}
			if diff := cmp.Diff(resultsOf(submitted), resultsOf(after)); diff != "" {
				t.Errorf("%s, %d bytes: another result", name, bytes)
			}
			if got := sizeOf(t, after); !room && (got > bytes || len(ourConditions(after)) != 0 || sealOf(after) != nil) {
				t.Errorf("%s, %d bytes: %d are stored, with conditions %v", name, bytes, got, ourConditions(after))
			}
		}
	}
}

// The API server leaves managedFields out where an object would be too large with them, and asks again.
func TestRoomWithoutManagedFields(t *testing.T) {
	submitted := grown(t, run("True", nil), stores()-2_000)
	submitted["metadata"].(fields)["managedFields"] = []any{fields{"manager": strings.Repeat("m", 4_000)}}
	request := statusWrite(t, run("Unknown", nil), submitted)
	response := newStatusHandler(&fakeVerifier{result: verified()}).Admit(t.Context(), request)
	if after := stored(t, response, request.Object); len(ourConditions(after)) != 1 || len(response.Warnings) != 0 {
		t.Errorf("conditions %v, warnings %q", ourConditions(after), response.Warnings)
	}
}

// Evidence is an addition, too: it goes as far as that makes room, and what the steps wrote stays.
func TestNoRoomForEvidence(t *testing.T) {
	material := fields{"name": "SIGNING_TOKEN", "type": "string", "value": strings.Repeat("t", 1_000)}
	message := `[{"key":"SIGNING_TOKEN","value":"` + strings.Repeat("t", 1_000) +
		`","type":1},{"key":"mine","value":"1","type":1}]`
	for name, c := range map[string]struct {
		over               int // more than the store takes of all that came
		inResults, inSteps bool
	}{
		"fits bare":       {-10, true, true},
		"without results": {500, false, true},
		"without any":     {1_500, false, false},
		"helps nothing":   {9_000, true, true},
	} {
		submitted := run("True", func(s fields) {
			s["steps"] = []any{fields{"name": "make", "terminated": fields{"message": message, "exitCode": 0.0}},
				fields{"name": "waits"}}
			s["results"] = []any{s["results"].([]any)[0], material}
		})
		request := statusWrite(t, run("Unknown", nil), grown(t, submitted, stores()+c.over))
		after := stored(t, newStatusHandler(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request),
			request.Object)
		status := after["status"].(fields)
		if got := len(status["results"].([]any)) == 2; got != c.inResults {
			t.Errorf("%s: results %v", name, status["results"])
		}
		got := status["steps"].([]any)[0].(fields)["terminated"].(fields)
		want := `[{"key":"RESULT_MANIFEST","value":"none:too-long","type":1},{"key":"mine","value":"1","type":1}]`
		if c.inSteps {
			want = message
		}
		if got["message"] != want || got["exitCode"] != 0.0 || len(ourConditions(after)) != 0 {
			t.Errorf("%s: terminated %v, conditions %v", name, got, ourConditions(after))
		}
		if size := sizeOf(t, after); size > stores() && c.over < 2_000 {
			t.Errorf("%s: %d bytes are stored", name, size)
		}
		again := statusWrite(t, submitted, submitted) // it is completed: nothing more is taken out
		after = stored(t, newStatusHandler(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), again),
			again.Object)
		if diff := cmp.Diff(submitted["status"].(fields)["steps"], after["status"].(fields)["steps"]); diff != "" {
			t.Errorf("%s: steps (-want +got):\n%s", name, diff)
		}
	}
}

// Tekton's webhook is shown the old object and the new one.
func TestNoRoomForTwo(t *testing.T) {
	const old = 1_572_000
	for bytes, room := range map[int]bool{objectsize.Reviewed - old - 2_000: true,
		objectsize.Reviewed - old - 100: false} {
		request := statusWrite(t, grown(t, run("Unknown", nil), old), grown(t, run("True", nil), bytes))
		after := stored(t, newStatusHandler(&fakeVerifier{result: verified()}).Admit(t.Context(), request), request.Object)
		if got := len(ourConditions(after)) == 1; got != room {
			t.Errorf("%d bytes: conditions %v", bytes, ourConditions(after))
		}
	}
}

// A verdict that stands is not lost by making the TaskRun larger, and the add-on learns of the store that there is no
// room.
func TestNoRoomKeepsTheVerdict(t *testing.T) {
	bare := withResult(t, run("True", nil), stores()-100)
	judged := sealed(withResult(t, run("True", withOurs("False")), stores()-1_200))
	junk := func() fields {
		grownUp := sealed(withResult(t, run("True", withOurs("False")), stores()-1_200))
		grownUp["status"].(fields)["annotations"].(fields)["junk"] = strings.Repeat("x", 3_000)
		delete(grownUp["status"].(fields)["annotations"].(fields), seal.Annotation)
		return grownUp
	}
	for name, c := range map[string]struct {
		old, submitted fields
		by             string
		want           int
	}{
		"asked by the add-on":     {bare, bare, addOn, 1},
		"written again by Tekton": {bare, bare, tekton, 0},
		"grown by somebody":       {judged, junk(), "eve", 1},
		"grown by Tekton":         {judged, junk(), tekton, 1},
		"another result, no room": {judged, withResult(t, run("True", withOurs("True")), stores()-100), "eve", 1},
		"a claim, and no room": {withResult(t, run("True", withOurs("True")), stores()-100),
			withResult(t, run("True", withOurs("True")), stores()-100), "eve", 0},
		"a claim in the last write": {run("Unknown", nil), withResult(t, run("True", withOurs("True")), stores()-100),
			tekton, 0},
	} {
		request := statusWrite(t, c.old, c.submitted)
		request.UserInfo.Username = c.by
		after := stored(t, newStatusHandler(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request),
			request.Object)
		found := ourConditions(after)
		if len(found) != c.want || c.want == 1 && found[0]["status"] != "False" {
			t.Errorf("%s: conditions %v", name, found)
		}
	}
}

// wantFailedBySize checks what enforce made of a TaskRun for which there is no room.
func wantFailedBySize(t *testing.T, response *admissionv1.AdmissionResponse, after fields, reason string) {
	t.Helper()
	status := after["status"].(fields)
	for _, gone := range []string{"results", "artifacts"} {
		if _, ok := status[gone]; ok {
			t.Errorf("status.%s is still there", gone)
		}
	}
	succeeded := status["conditions"].([]any)[0].(fields)
	if succeeded["type"] != "Succeeded" || succeeded["status"] != "False" || succeeded["reason"] != reason {
		t.Errorf("Succeeded is %v", succeeded)
	}
	found := ourConditions(after)
	if len(found) != 1 || found[0]["status"] != "False" || !strings.Contains(found[0]["message"].(string),
		" bytes with its verdict") {
		t.Errorf("conditions %v", found)
	}
	if size := sizeOf(t, after); size > stores() {
		t.Errorf("%d bytes are stored", size)
	}
	if len(response.Warnings) != 1 || sealOf(after) == nil {
		t.Errorf("warnings %q, seal %v", response.Warnings, sealOf(after))
	}
}

// In enforce a TaskRun that has no room for its verdict fails, without its results: it neither hangs nor passes.
func TestNoRoomInEnforce(t *testing.T) {
	const own = "TaskRunResultsVerificationFailed"
	steps := func(s fields) {
		s["taskSpec"] = fields{"steps": []any{fields{"name": "make"}}}
		s["steps"] = []any{fields{"name": "make", "terminated": fields{"message": strings.Repeat("m", stores())}}}
	}
	timedOut := run("False", func(s fields) {
		s["conditions"] = []any{fields{"type": "Succeeded", "status": "False", "reason": "TaskRunTimeout"}}
	})
	retriable := run("True", nil)
	retriable["spec"] = fields{"retries": 3}
	for name, c := range map[string]struct {
		submitted fields
		found     verify.Result
		reason    string
	}{
		"verified":               {withResult(t, run("True", full), stores()-100), verified(), own},
		"larger than the store":  {withResult(t, run("True", full), stores()+50_000), verified(), own},
		"by its steps":           {run("True", steps), verified(), own},
		"by its steps, failed":   {run("True", steps), failing(verify.Failed), own},
		"by what nobody knows":   {grown(t, run("True", full), stores()-10), failing(verify.Unsigned), own},
		"timed out":              {withResult(t, timedOut, stores()-100), verified(), "TaskRunTimeout"},
		"is not tried once more": {withResult(t, retriable, stores()-100), verified(), own},
	} {
		t.Run(name, func(t *testing.T) {
			old := run("Unknown", func(s fields) { s["taskSpec"] = c.submitted["status"].(fields)["taskSpec"] })
			old["spec"] = c.submitted["spec"]
			request := statusWrite(t, old, c.submitted)
			response := enforcing(&fakeVerifier{result: c.found}).Admit(t.Context(), request)
			after := stored(t, response, request.Object)
			wantFailedBySize(t, response, after, c.reason)
			if diff := cmp.Diff(c.submitted["status"].(fields)["taskSpec"], after["status"].(fields)["taskSpec"]); diff != "" {
				t.Errorf("taskSpec (-want +got):\n%s", diff)
			}
		})
	}
}

// What fits once its results are gone keeps the verdict's own words.
func TestRoomWithoutResults(t *testing.T) {
	request := statusWrite(t, run("Unknown", nil), withResult(t, run("True", nil), stores()+50_000))
	after := stored(t, enforcing(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request),
		request.Object)
	if found := ourConditions(after); len(found) != 1 || !strings.HasPrefix(found[0]["message"].(string),
		"FAILED: results") {
		t.Errorf("conditions %v", found)
	}
}

// A TaskRun that Tekton refused before it had a pod has no verdict, however large it is.
func TestNoRoomWithoutAPod(t *testing.T) {
	refused := run("False", func(s fields) { delete(s, "podName"); delete(s, "steps"); delete(s, "results") })
	request := statusWrite(t, run("Unknown", nil), grown(t, refused, stores()+100))
	old := run("Unknown", func(s fields) { delete(s, "podName"); delete(s, "steps"); delete(s, "results") })
	request.OldObject = raw(t, old)
	response := enforcing(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request)
	if after := stored(t, response, request.Object); len(ourConditions(after)) != 0 || len(response.Warnings) != 0 {
		t.Errorf("conditions %v, warnings %q", ourConditions(after), response.Warnings)
	}
}

// While a TaskRun runs, no condition is due that must be there; in enforce, an archived attempt still loses its
// results.
func TestNoRoomWhileItRuns(t *testing.T) {
	attempt := fields{"podName": "build-pod", "conditions": []any{succeededIs("False")},
		"results": []any{fields{"name": "digest", "value": "1"}}}
	for name, c := range map[string]struct {
		handler func(*fakeVerifier) *StatusHandler
		results bool
	}{"audit": {newStatusHandler, true}, "enforce": {enforcing, false}} {
		submitted := run("Unknown", func(s fields) { delete(s, "results"); s["retriesStatus"] = []any{attempt} })
		request := statusWrite(t, run("Unknown", nil), grown(t, submitted, stores()-10))
		after := stored(t, c.handler(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request),
			request.Object)
		archived, err := json.Marshal(after["status"].(fields)["retriesStatus"])
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Contains(string(archived), "digest")
		if got != c.results || strings.Contains(string(archived), "SignedResultsVerified") || len(ourConditions(after)) != 0 {
			t.Errorf("%s: conditions %v, archived %s", name, ourConditions(after), archived)
		}
		if size := sizeOf(t, after); size > stores() {
			t.Errorf("%s: %d bytes are stored", name, size)
		}
	}
}

// TestSizes compares the size that is expected with that of what is stored.
func TestSizes(t *testing.T) {
	old := run("Unknown", nil)
	for name, submitted := range map[string]fields{
		"with annotations": run("True", func(s fields) { s["annotations"] = fields{"a": "<b> & ü\u2028"} }),
		"full":             run("True", full),
		"without status":   {"metadata": old["metadata"], "spec": old["spec"]},
	} {
		request := statusWrite(t, old, submitted)
		object, err := parseObject(request.Object.Raw)
		if err != nil {
			t.Fatal(err)
		}
		wanted := object.clone()
		if err := wanted.setCondition(failedCondition("FAILED: <results>", testNow())); err != nil {
			t.Fatal(err)
		}
		wanted.marks.seal = quoted("v1.seal")
		got, err := (write{submitted: object}).size(wanted)
		if err != nil {
			t.Fatal(err)
		}
		response, err := allowPatched(object.patchTo(wanted))
		if err != nil {
			t.Fatal(err)
		}
		want := sizeOf(t, stored(t, response, request.Object))
		if diff := got - want; slices.Max([]int{diff, -diff}) > 2 {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}
