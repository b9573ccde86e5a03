// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// newRecorded returns a TaskRun that the add-on has recorded.
func newRecorded(t testing.TB, sign func(*verifytest.Run), change verifytest.Recording) *v1.TaskRun {
	t.Helper()
	tr := newTaskRun(t, sign)
	if err := theCluster().Record(tr, change); err != nil {
		t.Fatal(err)
	}
	return tr
}

// withoutMessages removes the termination messages, as some archives do.
func withoutMessages(tr *v1.TaskRun) {
	for i := range tr.Status.Steps {
		if terminated := tr.Status.Steps[i].Terminated; terminated != nil {
			terminated.Message = ""
		}
	}
}

// promoting changes a run so that one of its results is a promoted step result.
func promoting(r *verifytest.Run) {
	r.Spec.Results = append(r.Spec.Results, v1.TaskResult{
		Name: "verdict", Type: v1.ResultsTypeString, Value: v1.NewStructuredValues("$(steps.build.results.scan)"),
	})
	r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: v1.ResultsTypeString}}
	r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", "clean"))
}

func recordCheck(r verify.Result) verify.Check {
	i := slices.IndexFunc(r.Checks, func(c verify.Check) bool { return c.ID == verify.CheckRecord })
	if i < 0 {
		return verify.Check{}
	}
	return r.Checks[i]
}

func withVerdict(verdict verify.Verdict) func(*verify.Result) {
	return func(r *verify.Result) { r.Verdict = verdict }
}

func TestRecord(t *testing.T) {
	other := func() *v1.TaskRun {
		return newRecorded(t, func(r *verifytest.Run) { r.UID = "11111111-2222-4333-8444-555555555555" },
			verifytest.Recording{})
	}
	foreign, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	kid := theCluster().KeyID
	claim := func(name string, value any) verifytest.Recording {
		return verifytest.Recording{Claims: func(c map[string]any) { c[name] = value }}
	}
	at := verifytest.RecordedAt().Unix()
	cases := map[string]struct {
		sign   func(*verifytest.Run)
		record verifytest.Recording
		tamper func(*v1.TaskRun)
		want   verify.Verdict
		status verify.Status // of the check record
		text   string        // part of its Expected, Got or Message
	}{
		"good": {
			want: verify.Verified, status: verify.Pass, text: "VERIFIED by system:serviceaccount:tekton-sign:controller",
		},
		"none": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Annotations = nil }, want: verify.Verified, status: verify.Note,
			text: "no record",
		},

		// The TaskRun was changed afterwards.
		"a result was changed": {
			tamper: setResult("IMAGE_DIGEST", "x"), want: verify.Failed, status: verify.Fail, text: ": results differ",
		},
		"the declaration was changed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.TaskSpec.Results[0].Description = "x" },
			want:   verify.Failed, status: verify.Fail, text: ": declared differ",
		},
		"a time was changed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.StartTime = &metav1.Time{Time: verifytest.Start().Add(time.Second)} },
			want:   verify.Failed, status: verify.Fail, text: ": startTime differ",
		},
		"a message was changed": {
			tamper: inMessage(`"latest\"`, `"oldest\"`), want: verify.Failed, status: verify.Fail,
			text: "the steps' messages differ",
		},
		"our condition was changed": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Conditions = append(tr.Status.Conditions, apis.Condition{Type: verify.ConditionType, Status: "False"})
			}, want: verify.Verified, status: verify.Pass,
		},
		"another attempt": {
			tamper: func(tr *v1.TaskRun) { tr.Status.RetriesStatus = []v1.TaskRunStatus{{}} },
			want:   verify.Failed, status: verify.Fail, text: "another attempt",
		},
		"the record of another TaskRun": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Annotations = other().Status.Annotations },
			want:   verify.Failed, status: verify.Fail, text: ": uid differ",
		},
		"an older record": { // the TaskRun had other results then
			record: verifytest.Recording{Record: func(r *record.Record) {
				r.TaskRun, r.Predicate.Fields["results"] = strings.Repeat("00", 32), "0000000000000000"
			}},
			want: verify.Failed, status: verify.Fail, text: "results differ",
		},

		// Someone else made the record.
		"no record at all": {
			record: verifytest.Recording{Text: func(string) string { return "yes" }}, want: verify.Failed, status: verify.Fail,
			text: "cannot be read",
		},
		"too large": {
			record: verifytest.Recording{Text: func(v string) string { return v + strings.Repeat("A", record.MaxBytes) }},
			want:   verify.Failed, status: verify.Fail, text: "at most",
		},
		"no token": {
			record: verifytest.Recording{Text: func(v string) string { return v[:strings.LastIndexByte(v, '.')] }},
			want:   verify.Failed, status: verify.Fail, text: "proof cannot be read",
		},
		"another signature": {
			record: verifytest.Recording{Text: func(v string) string {
				i := strings.LastIndexByte(v, '.') + 1
				return v[:i] + flip(v[i:i+1]) + v[i+1:]
			}},
			want: verify.Failed, status: verify.Fail, text: "the record's proof was changed",
		},
		"another statement": {
			tamper: func(tr *v1.TaskRun) {
				mine, theirs := tr.Status.Annotations[record.Annotation], other().Status.Annotations[record.Annotation]
				statement, _, _ := strings.Cut(strings.TrimPrefix(theirs, "v1."), ".")
				_, proof, _ := strings.Cut(strings.TrimPrefix(mine, "v1."), ".")
				tr.Status.Annotations[record.Annotation] = "v1." + statement + "." + proof
			},
			want: verify.Failed, status: verify.Fail, text: "not one of this record",
		},
		"signed by an unknown key": {
			record: verifytest.Recording{Signer: foreign}, want: verify.Verified, status: verify.Warn, text: "unknown key",
		},
		"signed by another key under a known ID": {
			record: verifytest.Recording{Signer: &verifytest.Cluster{KeyID: kid, Algorithm: foreign.Algorithm,
				Private: foreign.Private}},
			want: verify.Failed, status: verify.Fail, text: "another signature",
		},
		"another issuer": {
			record: claim("iss", "https://evil.example"), want: verify.Failed, status: verify.Fail, text: "another issuer",
		},
		"another account": {
			record: claim("sub", "system:serviceaccount:ci:builder"), want: verify.Failed, status: verify.Fail,
			text: "not trusted to record",
		},
		"another account in the add-on's name": {
			record: verifytest.Recording{Claims: func(c map[string]any) {
				c["kubernetes.io"] = map[string]any{"namespace": "ci", "serviceaccount": map[string]any{"name": "builder"}}
			}},
			want: verify.Failed, status: verify.Fail, text: "not trusted to record",
		},
		"a token of a step": {
			record: claim("aud", []string{"tekton-result-signing:p:" + strings.Repeat("A", 43)}), want: verify.Failed,
			status: verify.Fail, text: "not one of this record",
		},
		"two audiences": {
			record: verifytest.Recording{Claims: func(c map[string]any) { c["aud"] = append(c["aud"].([]string), "x") }},
			want:   verify.Failed, status: verify.Fail, text: "not one of this record",
		},
		"a token that lives too long": {
			record: claim("exp", at+3600), want: verify.Failed, status: verify.Fail, text: "longer than the policies",
		},
		"proven before the end": {
			record: verifytest.Recording{Claims: func(c map[string]any) { c["iat"], c["nbf"], c["exp"] = at-300, at-300, at }},
			want:   verify.Failed, status: verify.Fail, text: "before the TaskRun completed",
		},

		// The record has another content.
		"another cluster": {
			record: verifytest.Recording{Record: func(r *record.Record) {
				r.Predicate.Cluster = "11111111-2222-4333-8444-555555555555"
			}},
			want: verify.Failed, status: verify.Fail, text: "another cluster",
		},
		"another pod": {
			record: verifytest.Recording{Record: func(r *record.Record) {
				r.Predicate.PodUID = "11111111-2222-4333-8444-555555555555"
			}},
			want: verify.Failed, status: verify.Fail, text: "another pod",
		},
		"it says what nobody knows": {
			record: verifytest.Recording{Result: withVerdict("GOOD")}, want: verify.Failed, status: verify.Fail,
			text: "does not know",
		},
		"it says FAILED": {
			record: verifytest.Recording{Result: withVerdict(verify.Failed)}, want: verify.Failed, status: verify.Fail,
			text: "FAILED, as the add-on found",
		},
		"it says UNSIGNED": {
			record: verifytest.Recording{Result: withVerdict(verify.Unsigned)}, want: verify.Failed, status: verify.Fail,
			text: "UNSIGNED, as the add-on found",
		},
		"it says INDETERMINATE": {
			record: verifytest.Recording{Result: withVerdict(verify.Indeterminate)}, want: verify.Verified, status: verify.Note,
			text: "another verdict",
		},
		"it says VERIFIED of an unsigned TaskRun": {
			sign:   func(r *verifytest.Run) { r.Steps[0].Unsigned, r.Steps[1].Unsigned = "too-long", "too-long" },
			record: verifytest.Recording{Result: withVerdict(verify.Verified)}, want: verify.Unsigned, status: verify.Note,
			text: "never makes a verdict better",
		},
		"it says VERIFIED of a TaskRun that does not verify": {
			sign:   func(r *verifytest.Run) { r.Steps[0].Change = func(u *signing.Unit) { u.ExitCode = 3 } },
			record: verifytest.Recording{Result: withVerdict(verify.Verified)}, want: verify.Failed, status: verify.Note,
			text: "never makes a verdict better",
		},
	}
	v := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tr := newRecorded(t, c.sign, c.record)
			if c.tamper != nil {
				c.tamper(tr)
			}
			got := v.TaskRun(t.Context(), tr, verify.Facts{})
			if got.Verdict != c.want {
				t.Errorf("expected %s, got %s (%s): %+v", c.want, got.Verdict, got.Reason, got.Checks)
			}
			check := recordCheck(got)
			if check.Status != c.status {
				t.Errorf("expected the check record %s, got %+v", c.status, check)
			}
			if text := strings.Join([]string{check.Expected, check.Got, check.Message}, "|"); !strings.Contains(text, c.text) {
				t.Errorf("expected %q in what the check says, got %q", c.text, text)
			}
			if check.Status == verify.Fail && (check.Expected == "" || check.Got == "") {
				t.Errorf("expected what was expected and found, got %+v", check)
			}
		})
	}
}

// A proof from the future means that the local clock is behind. It proves nothing and refutes nothing.
func TestRecordFromTheFuture(t *testing.T) {
	at := verifytest.RecordedAt().Unix() + 1e6
	tr := newRecorded(t, nil,
		verifytest.Recording{Claims: func(c map[string]any) { c["iat"], c["nbf"], c["exp"] = at, at, at+600 }})
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	if got.Verdict != verify.Indeterminate || got.Reason != verify.ReasonClockBehind || got.Record != nil {
		t.Errorf("expected INDETERMINATE clock-behind and no record, got %s %s, %+v", got.Verdict, got.Reason, got.Record)
	}
}

func flip(letter string) string {
	if letter == "A" {
		return "B"
	}
	return "A"
}

// A token that the API server accepts is a leaked credential wherever it is.
func TestRecordWithACredential(t *testing.T) {
	tr := newRecorded(t, nil,
		verifytest.Recording{Claims: func(c map[string]any) { c["aud"] = []string{verifytest.Issuer} }})
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	if got.Verdict != verify.Failed || got.Reason != string(verify.CheckCredentialLeak) {
		t.Errorf("expected FAILED credential-leak, got %s %s", got.Verdict, got.Reason)
	}
}

func TestRecordIsShown(t *testing.T) {
	got := newVerifier(t).TaskRun(t.Context(), newRecorded(t, nil, verifytest.Recording{}), verify.Facts{})
	kid := theCluster().KeyID
	want := &verify.Recorded{
		Recorder: trust.AddOn, RecordedAt: verifytest.RecordedAt(), KeyID: kid, VerifiedAt: verifytest.RecordedAt(),
		Verdict: verify.Verified, Backend: signing.BackendOIDCSAToken, Assurance: signing.AssurancePayloadBound,
		KeyIDs: []string{kid}, AddOnVersion: "v0.4.0",
	}
	if diff := cmp.Diff(want, got.Record); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	wantTime := &verify.SigningTime{Source: verify.TimeFromRecord, At: verifytest.RecordedAt(), Trusted: true}
	if diff := cmp.Diff(wantTime, got.Time); diff != "" {
		t.Errorf("time (-want +got):\n%s", diff)
	}
}
