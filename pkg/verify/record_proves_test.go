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

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

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
			verifytest.Recording{Live: true, Result: withVerdict(verify.Indeterminate)}, verify.Indeterminate,
		},
		"the add-on verified but did not know it": {
			verifytest.Recording{Result: withVerdict(verify.Verified)}, verify.Indeterminate,
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
			recording: verifytest.Recording{Result: withVerdict(verify.Failed)}, want: verify.Failed, reason: "record",
		},
		"recorded as INDETERMINATE": {
			recording: verifytest.Recording{Result: withVerdict(verify.Indeterminate)}, want: verify.Indeterminate,
			reason: "coverage",
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
