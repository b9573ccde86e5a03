// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// However many attempts a write adds, few are judged; those that a stranger changed are judged again.
func TestAttemptsAreBounded(t *testing.T) {
	many := make([]any, 500)
	for i := range many {
		many[i] = run("False", func(s fields) { withOurs("True")(s); delete(s, "future") })["status"]
	}
	with := func(attempts []any) func(fields) { return func(s fields) { s["retriesStatus"] = attempts } }
	verifier := &fakeVerifier{result: failing(verify.Failed)}
	request := statusWrite(t, run("Unknown", nil), run("Unknown", with(many)))
	after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
	if verifier.calls != maxAttempts {
		t.Errorf("judged %d times, want %d", verifier.calls, maxAttempts)
	}
	for i, attempt := range after["status"].(fields)["retriesStatus"].([]any) {
		for _, c := range ourConditions(fields{"status": attempt}) {
			if c["status"] == "True" {
				t.Fatalf("attempt %d keeps a condition that nobody of ours set", i)
			}
		}
	}
	one := run("False", withOurs("False"))["status"]
	forged := run("False", withOurs("True"))["status"]
	request = statusWrite(t, run("Unknown", with([]any{one})), run("Unknown", with([]any{forged})))
	after = stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
	got := ourConditions(fields{"status": after["status"].(fields)["retriesStatus"].([]any)[0]})
	if len(got) != 1 || got[0]["status"] != "False" {
		t.Errorf("a changed attempt: %v", got)
	}
}

// What Tekton could not read either keeps nobody from being judged, and lets no forged condition stand.
func TestUnreadableStatus(t *testing.T) {
	forged := func(change func(fields)) func(fields) { return func(s fields) { withOurs("True")(s); change(s) } }
	odd := map[string]func(fields){
		"annotations":              func(s fields) { s["annotations"] = []any{"x"} },
		"annotations are a text":   func(s fields) { s["annotations"] = "x" },
		"attempts":                 func(s fields) { s["retriesStatus"] = 5 },
		"an attempt":               func(s fields) { s["retriesStatus"] = []any{5} },
		"steps":                    func(s fields) { s["steps"] = "x" },
		"conditions of an attempt": func(s fields) { s["retriesStatus"] = []any{fields{"conditions": 5}} },
	}
	for name, change := range odd {
		for _, succeeded := range []string{"True", "Unknown"} {
			handler := newStatusHandler(&fakeVerifier{result: failing(verify.Failed)})
			response, request := admitAs(t, handler, "mallory", run("Unknown", nil), run(succeeded, forged(change)))
			for _, c := range ourConditions(stored(t, response, request.Object)) {
				if c["status"] == "True" {
					t.Errorf("%s, %s: a forged condition stands: %v", name, succeeded, c)
				}
			}
		}
	}
	odd["conditions"] = func(s fields) { s["conditions"] = 5 }
	for name, change := range odd {
		verifier := &fakeVerifier{result: failing(verify.Failed)}
		response, request := admitAs(t, newStatusHandler(verifier), tekton, run("Unknown", change), run("True", nil))
		if ours := ourConditions(stored(t, response, request.Object)); len(ours) != 1 || ours[0]["status"] != "False" ||
			verifier.calls != 1 {
			t.Errorf("an old object with odd %s: judged %d times, %v", name, verifier.calls, ours)
		}
	}
}

// The object is the one of the request: a review that says otherwise leads to no look at another pod.
func TestAnotherObjectThanTheRequest(t *testing.T) {
	for _, metadata := range []fields{{"namespace": "kube-system", "name": "build"}, {"namespace": "ci", "name": "other"},
		{}} {
		old := run("Unknown", nil)
		old["metadata"] = metadata
		verifier := &fakeVerifier{result: verified()}
		response, _ := admitAs(t, newStatusHandler(verifier), tekton, old, run("True", nil))
		if len(response.Patch) != 0 || len(response.Warnings) != 1 || verifier.calls != 0 {
			t.Errorf("%v: judged %d times, %v", metadata, verifier.calls, response)
		}
	}
}

// hostile are statuses of which a part grows with n, by its name.
func hostile() map[string]func(status fields, n int) {
	conditions := func(of func(i int) any) func(fields, int) {
		return func(s fields, n int) {
			all := s["conditions"].([]any)
			for i := range n {
				all = append(all, of(i))
			}
			s["conditions"] = all
		}
	}
	return map[string]func(fields, int){
		"conditions": conditions(func(i int) any {
			return fields{"type": fmt.Sprint("Junk", i), "status": "True", "message": "SignedResultsVerified"}
		}),
		"of ours":   conditions(func(int) any { return oursIs("True") }),
		"Succeeded": conditions(func(int) any { return succeededIs("True") }),
		"annotations": func(s fields, n int) {
			all := fields{seal.Annotation: "v1.e30.AA", record.Annotation: "v1.x.y"}
			for i := range n {
				all[fmt.Sprint("junk", i)] = "tekton-sign.dev"
			}
			s["annotations"] = all
		},
		"results": func(s fields, n int) {
			all := make([]any, n)
			for i := range all {
				all[i] = fields{"name": fmt.Sprint("r", i), "type": "string", "value": "x"}
			}
			s["results"] = all
		},
		"depth": func(s fields, n int) {
			var deep any = "x"
			for range min(n, 4000) {
				deep = []any{deep}
			}
			s["artifacts"] = deep
		},
	}
}

// TestWorkIsLinear counts what a write makes the webhook allocate, for parts that are eight times as many.
func TestWorkIsLinear(t *testing.T) {
	for name, grow := range hostile() {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) float64 {
				object := run("True", func(s fields) { grow(s, n) })
				request := statusWrite(t, object, object)
				handler := newStatusHandler(&fakeVerifier{result: failing(verify.Failed)})
				return testing.AllocsPerRun(3, func() { handler.Admit(t.Context(), request) })
			}
			few, many := cost(250), cost(2000)
			if many > 10*few+2000 {
				t.Errorf("%.0f allocations for 250, %.0f for 2000", few, many)
			}
		})
	}
}

// BenchmarkHostile is the time of one write at the API server's limit.
func BenchmarkHostile(b *testing.B) {
	for name, grow := range hostile() {
		b.Run(name, func(b *testing.B) {
			object := run("True", func(s fields) { grow(s, 16000) })
			raw, err := json.Marshal(object)
			if err != nil {
				b.Fatal(err)
			}
			request := statusWriteRaw(raw)
			handler := newStatusHandler(&fakeVerifier{result: failing(verify.Failed)})
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				handler.Admit(b.Context(), request)
			}
		})
	}
}
