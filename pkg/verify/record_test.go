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
	"k8s.io/apimachinery/pkg/types"
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

func says(verdict verify.Verdict) func(*verify.Result) {
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
			record: verifytest.Recording{Result: says("GOOD")}, want: verify.Failed, status: verify.Fail, text: "does not know",
		},
		"it says FAILED": {
			record: verifytest.Recording{Result: says(verify.Failed)}, want: verify.Failed, status: verify.Fail,
			text: "FAILED, as the add-on found",
		},
		"it says UNSIGNED": {
			record: verifytest.Recording{Result: says(verify.Unsigned)}, want: verify.Failed, status: verify.Fail,
			text: "UNSIGNED, as the add-on found",
		},
		"it says INDETERMINATE": {
			record: verifytest.Recording{Result: says(verify.Indeterminate)}, want: verify.Verified, status: verify.Note,
			text: "another verdict",
		},
		"it says VERIFIED of an unsigned TaskRun": {
			sign:   func(r *verifytest.Run) { r.Steps[0].Unsigned, r.Steps[1].Unsigned = "too-long", "too-long" },
			record: verifytest.Recording{Result: says(verify.Verified)}, want: verify.Unsigned, status: verify.Note,
			text: "never makes a verdict better",
		},
		"it says VERIFIED of a TaskRun that does not verify": {
			sign:   func(r *verifytest.Run) { r.Steps[0].Change = func(u *signing.Unit) { u.ExitCode = 3 } },
			record: verifytest.Recording{Result: says(verify.Verified)}, want: verify.Failed, status: verify.Note,
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

// A record that does not match this TaskRun proves no time and no declaration, even with a good proof.
func TestRecordOfAnotherStateProvesNothing(t *testing.T) {
	tr := newRecorded(t, promoting, verifytest.Recording{Live: true})
	tr.Status.StartTime = &metav1.Time{Time: verifytest.Start().Add(time.Second)}
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	if diff := cmp.Diff([]string{"declaration verdict", "record"}, append(undecided(got), deciding(got)...)); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

// undecided lists the checks that could not be decided.
func undecided(r verify.Result) []string {
	var list []string
	for _, c := range r.Checks {
		if c.Status == verify.Unknown {
			list = append(list, string(c.ID)+" "+c.Result)
		}
	}
	return list
}

func TestRecordProvesTheDeclaration(t *testing.T) {
	v := newVerifier(t)
	for name, c := range map[string]struct {
		recording verifytest.Recording
		want      verify.Verdict
	}{
		"the add-on knew it":         {verifytest.Recording{Live: true}, verify.Verified},
		"the add-on did not know it": {verifytest.Recording{}, verify.Indeterminate},
		"the add-on claims it without VERIFIED": {
			verifytest.Recording{Live: true, Result: says(verify.Indeterminate)}, verify.Indeterminate,
		},
		"the add-on verified but did not know it": {
			verifytest.Recording{Result: says(verify.Verified)}, verify.Indeterminate,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := v.TaskRun(t.Context(), newRecorded(t, promoting, c.recording), verify.Facts{})
			if got.Verdict != c.want {
				t.Errorf("expected %s, got %s: %+v", c.want, got.Verdict, got.Checks)
			}
			unproven := slices.ContainsFunc(got.Caveats,
				func(text string) bool { return strings.Contains(text, "status.taskSpec") })
			if unproven != (c.want != verify.Verified) {
				t.Errorf("expected the caveat %v, got %q", c.want != verify.Verified, got.Caveats)
			}
		})
	}
}

// A declaration that the add-on pinned is proven for live TaskRuns only.
func TestPinnedDeclaration(t *testing.T) {
	tr := newTaskRun(t, promoting)
	tr.Spec.TaskSpec = nil
	v := newVerifier(t)
	for facts, want := range map[verify.Facts]verify.Verdict{
		{Live: true, Pinned: true}: verify.Verified,
		{Live: true}:               verify.Indeterminate,
		{Pinned: true}:             verify.Indeterminate,
	} {
		if got := v.TaskRun(t.Context(), tr, facts); got.Verdict != want {
			t.Errorf("%+v: expected %s, got %s", facts, want, got.Verdict)
		}
	}
}

// The record proves which pod was the TaskRun's after the pod is gone.
func TestRecordStandsForThePod(t *testing.T) {
	v := newVerifier(t)
	for _, pod := range []*verify.PodFacts{nil, {}} {
		facts := verify.Facts{Live: true, RequirePod: true, Pod: pod}
		if got := v.TaskRun(t.Context(), newTaskRun(t, nil), facts); got.Verdict != verify.Indeterminate {
			t.Errorf("without a record: expected INDETERMINATE, got %s", got.Verdict)
		}
		if got := v.TaskRun(t.Context(), newRecorded(t, nil, verifytest.Recording{}), facts); got.Verdict != verify.Verified {
			t.Errorf("with a record: expected VERIFIED, got %s: %+v", got.Verdict, got.Checks)
		}
	}
}

func TestArchiveWithoutMessages(t *testing.T) {
	for name, c := range map[string]struct {
		sign      func(*verifytest.Run)
		recording verifytest.Recording
		options   []verify.Option
		tamper    func(*v1.TaskRun)
		want      verify.Verdict
		reason    string
		assurance signing.Assurance
		subject   string
	}{
		"recorded": {
			want: verify.Verified, assurance: signing.AssurancePayloadBound,
			subject: "system:serviceaccount:ci:builder",
		},
		"recorded, by SPIRE": {
			sign: func(r *verifytest.Run) { r.Scheme = signing.SchemeSPIRE }, want: verify.Verified,
			assurance: signing.AssuranceWorkloadIdentity, subject: "spiffe://" + verifytest.TrustDomain + "/ns/ci/taskrun/build",
		},
		"not recorded": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Annotations = nil }, want: verify.Unsigned, reason: "coverage",
		},
		"recorded as FAILED": {
			recording: verifytest.Recording{Result: says(verify.Failed)}, want: verify.Failed, reason: "record",
		},
		"recorded as INDETERMINATE": {
			recording: verifytest.Recording{Result: says(verify.Indeterminate)}, want: verify.Indeterminate, reason: "coverage",
		},
		"a result was changed": {tamper: setResult("IMAGE_DIGEST", "x"), want: verify.Failed, reason: "record"},
		"an exit code was changed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }, want: verify.Failed, reason: "record",
		},
		"one message is left": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.Message = "[]" }, want: verify.Failed,
			reason: "message",
		},
		"two outcomes": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Conditions = append(tr.Status.Conditions, tr.Status.Conditions[0]) },
			want:   verify.Failed, reason: "succeeded",
		},
		"another attempt": {
			tamper: func(tr *v1.TaskRun) { tr.Status.RetriesStatus = []v1.TaskRunStatus{{}} }, want: verify.Failed,
			reason: "record",
		},
		"below the minimum": {
			sign:    func(r *verifytest.Run) { r.Format, r.Scheme = signing.FormatV1, signing.SchemeOIDCKeyBound },
			options: []verify.Option{verify.WithMinimumAssurance(signing.AssuranceKeyBound)}, want: verify.Failed,
			reason: "assurance",
		},
		"format v1": {
			sign:      func(r *verifytest.Run) { r.Format, r.Scheme = signing.FormatV1, signing.SchemeOIDCKeyBound },
			want:      verify.Verified,
			assurance: signing.AssuranceLegacy, subject: "system:serviceaccount:ci:builder",
		},
		"format v1, which is refused": {
			sign:    func(r *verifytest.Run) { r.Format, r.Scheme = signing.FormatV1, signing.SchemeOIDCKeyBound },
			options: []verify.Option{verify.WithMinimumFormat(signing.FormatV2)}, want: verify.Failed, reason: "format",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newRecorded(t, c.sign, c.recording)
			withoutMessages(tr)
			if c.tamper != nil {
				c.tamper(tr)
			}
			got := newVerifier(t, c.options...).TaskRun(t.Context(), tr, verify.Facts{})
			if got.Verdict != c.want || got.Reason != c.reason || got.Assurance != c.assurance {
				t.Fatalf("expected %s %q %q, got %s %q %q: %+v",
					c.want, c.reason, c.assurance, got.Verdict, got.Reason, got.Assurance, got.Checks)
			}
			if c.want != verify.Verified {
				return
			}
			wantIdentity := &verify.Identity{Subject: c.subject, PodUID: got.Identity.PodUID, KeyIDs: got.Record.KeyIDs}
			if diff := cmp.Diff(wantIdentity, got.Identity); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
			if got.Time.Source != verify.TimeFromRecord || len(got.Caveats) == 0 ||
				!strings.Contains(got.Caveats[0], trust.AddOn) {
				t.Errorf("expected the time of the record and a caveat, got %+v and %q", got.Time, got.Caveats)
			}
		})
	}
}

// An old bundle names no recorders.
func TestRecordWithoutRecorders(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Recorders = nil
	v, err := verify.New(cluster, verify.WithClock(verifytest.RecordedAt))
	if err != nil {
		t.Fatal(err)
	}
	got := v.TaskRun(t.Context(), newRecorded(t, nil, verifytest.Recording{}), verify.Facts{})
	if check := recordCheck(got); got.Verdict != verify.Indeterminate || got.Reason != "record" || got.Record != nil ||
		!strings.Contains(check.Message, "names no recorders") {
		t.Errorf("expected INDETERMINATE and a note, got %s and %+v", got.Verdict, check)
	}
}

// A retired key does not sign later, and an unknown key is reported as missing.
func TestRecordKeys(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := foreign.JWK()
	if err != nil {
		t.Fatal(err)
	}
	tr := newRecorded(t, nil, verifytest.Recording{Signer: foreign})
	verdictWith := func(key *trust.IssuerKey, more ...verify.Option) verify.Result {
		keys := cluster.ServiceAccountIssuers[0].Keys[:1:1]
		if key != nil {
			keys = append(keys, *key)
		}
		c := *cluster
		c.ServiceAccountIssuers = []trust.Issuer{{Issuer: verifytest.Issuer, Keys: keys}}
		v, err := verify.New(&c, append(more, verify.WithClock(verifytest.RecordedAt))...)
		if err != nil {
			t.Fatal(err)
		}
		return v.TaskRun(t.Context(), tr, verify.Facts{})
	}
	if got := verdictWith(nil); got.MissingKey != foreign.KeyID {
		t.Errorf("expected the missing key %s, got %q", foreign.KeyID, got.MissingKey)
	}
	if got := verdictWith(&trust.IssuerKey{JWK: jwk}); got.Verdict != verify.Verified ||
		recordCheck(got).Status != verify.Pass {
		t.Errorf("with the key: expected VERIFIED and a good record, got %s and %+v", got.Verdict, recordCheck(got))
	}
	retired := &trust.IssuerKey{JWK: jwk, NotAfter: trust.At(verifytest.RecordedAt().Add(-2 * time.Hour))}
	if got := verdictWith(retired); got.Verdict != verify.Failed ||
		!strings.Contains(recordCheck(got).Message, "retired") {
		t.Errorf("with a retired key: expected FAILED, got %s and %+v", got.Verdict, recordCheck(got))
	}
	if got := verdictWith(retired, verify.WithStaleKeys()); got.Verdict != verify.Indeterminate ||
		got.MissingKey != foreign.KeyID {
		t.Errorf("with a key that may be in use again: expected INDETERMINATE for the missing key, got %s %q", got.Verdict,
			got.MissingKey)
	}
}

// The record holds the units that a verifier rebuilds.
func TestRecordedUnits(t *testing.T) {
	tr := newRecorded(t, nil, verifytest.Recording{})
	encoded, err := record.Decode(tr.Status.Annotations[record.Annotation])
	if err != nil {
		t.Fatal(err)
	}
	p := encoded.Record.Predicate
	var containers []string
	for i, u := range p.Units {
		containers = append(containers, u.Container)
		token := tr.Status.Steps[i].Terminated.Message
		if !strings.Contains(token, "SIGNING_TOKEN") || len(u.Payload) == 0 || len(u.Digest) != 64 {
			t.Errorf("expected payload and digest of a signed step, got %+v", u)
		}
	}
	if diff := cmp.Diff([]string{"step-build", "step-publish"}, containers); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if p.PodUID != "3db15e48-971f-4815-84b3-272e52f61a10" || p.Cluster != verifytest.ClusterUID {
		t.Errorf("expected pod and cluster, got %s and %s", p.PodUID, p.Cluster)
	}
	if slices.ContainsFunc(p.Checks, func(c record.Check) bool { return c.Status == string(verify.Note) }) {
		t.Errorf("expected no notes among the checks, got %v", p.Checks)
	}
	if _, err := verify.NewRecord(tr, verify.Result{}, verify.Recording{PodUID: types.UID("x")}); err == nil {
		t.Error("expected an error for a result without a cluster, got none")
	}
}
