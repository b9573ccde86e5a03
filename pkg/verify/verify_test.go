// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// theCluster is the virtual cluster of all tests: making an RSA key takes long.
var theCluster = sync.OnceValue(func() *verifytest.Cluster {
	c, err := verifytest.NewCluster()
	if err != nil {
		panic(err)
	}
	c.CA, err = verifytest.NewCA(verifytest.TrustDomain)
	if err != nil {
		panic(err)
	}
	partner, err := verifytest.NewCA("partner.example")
	if err != nil {
		panic(err)
	}
	c.Federated = append(c.Federated, partner)
	return c
})

func newVerifier(t testing.TB, options ...verify.Option) *verify.Verifier {
	t.Helper()
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	clock := verify.WithClock(func() time.Time { return verifytest.Start().Add(24 * time.Hour) })
	v, err := verify.New(cluster, append([]verify.Option{clock, verify.WithUnrecorded()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newTaskRun(t testing.TB, change func(*verifytest.Run)) *v1.TaskRun {
	t.Helper()
	run := verifytest.NewRun()
	if change != nil {
		change(run)
	}
	tr, err := run.TaskRun(theCluster())
	if err != nil {
		t.Fatal(err)
	}
	verifytest.DropCarriers(tr)
	return tr
}

// verdictCase is a TaskRun that was changed before or after its steps signed, with its expected verdict.
type verdictCase struct {
	sign   func(*verifytest.Run) // before
	tamper func(*v1.TaskRun)     // after
	facts  verify.Facts

	want   verify.Verdict
	checks []string // the deciding ones: id, and the result if the check names one
	reason string   // if it is not the first check's id
}

func runVerdictCases(t *testing.T, cases map[string]verdictCase) {
	t.Helper()
	v := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tr := newTaskRun(t, c.sign)
			if c.tamper != nil {
				c.tamper(tr)
			}
			before := tr.DeepCopy()
			got := v.TaskRun(t.Context(), tr, c.facts)
			if diff := cmp.Diff(before, tr); diff != "" {
				t.Errorf("verification changed the TaskRun (-before +after):\n%s", diff)
			}
			compareVerdict(t, c, got)
		})
	}
}

func compareVerdict(t *testing.T, c verdictCase, got verify.Result) {
	t.Helper()
	if got.Verdict != c.want {
		t.Errorf("verdict %s (%s), want %s; checks: %+v", got.Verdict, got.Reason, c.want, got.Checks)
	}
	if diff := cmp.Diff(c.checks, deciding(got)); diff != "" {
		t.Errorf("deciding checks differ (-want +got):\n%s\n%+v", diff, got.Checks)
	}
	reason := c.reason
	if reason == "" && len(c.checks) > 0 {
		reason, _, _ = cut(c.checks[0])
	}
	if got.Reason != reason {
		t.Errorf("reason %q, want %q", got.Reason, reason)
	}
	for _, check := range got.Checks {
		if check.Status == verify.Fail && (check.Expected == "" || check.Got == "" || check.Message == "") {
			t.Errorf("failed without expected, got and message: %+v", check)
		}
	}
	if verified := got.Verdict == verify.Verified; verified != (got.Identity != nil) || verified != (got.Assurance != "") {
		t.Errorf("verdict %s with identity %v and assurance %q", got.Verdict, got.Identity, got.Assurance)
	}
	for _, r := range got.Results {
		if r.Verified != (got.Verdict == verify.Verified) {
			t.Errorf("verdict %s, yet result %s has verified=%v", got.Verdict, r.Name, r.Verified)
		}
	}
}

// deciding lists the checks that led to a verdict other than VERIFIED.
func deciding(r verify.Result) []string {
	status := map[verify.Verdict]verify.Status{
		verify.Failed: verify.Fail, verify.Indeterminate: verify.Unknown, verify.Unsigned: verify.Missing,
	}[r.Verdict]
	var list []string
	for _, c := range r.Checks {
		text := string(c.ID)
		if c.Result != "" {
			text += " " + c.Result
		}
		if c.Status == status && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

func cut(check string) (id, result string, found bool) {
	for i := range check {
		if check[i] == ' ' {
			return check[:i], check[i+1:], true
		}
	}
	return check, "", false
}

func TestVerifiedShowsWhatItRestsOn(t *testing.T) {
	tr := newTaskRun(t, nil)
	got := newVerifier(t).TaskRun(t.Context(), tr, withLivePod(tr))
	if got.Verdict != verify.Verified || len(got.Caveats) != 0 {
		t.Fatalf("verdict %s, caveats %q, checks %+v", got.Verdict, got.Caveats, got.Checks)
	}
	type facts struct {
		Subject, Issuer, PodUID, Time, Cluster, Results string
		Backend                                         signing.Backend
		Assurance                                       signing.Assurance
		Trusted                                         bool
	}
	want := facts{
		Subject: "system:serviceaccount:ci:builder", Issuer: verifytest.Issuer,
		PodUID: "3db15e48-971f-4815-84b3-272e52f61a10",
		Time:   "2025-06-02 12:00:30 +0000 UTC", Trusted: true, Cluster: verifytest.ClusterUID,
		Results: "IMAGE_DIGEST string, TAGS array, SOURCE object, ",
		Backend: signing.BackendOIDCSAToken, Assurance: signing.AssurancePayloadBound,
	}
	have := facts{
		Subject: got.Identity.Subject, Issuer: got.Identity.Issuer, PodUID: string(got.Identity.PodUID),
		Time: got.Time.At.String(), Trusted: got.Time.Trusted, Cluster: got.Cluster.UID,
		Backend: got.Backend, Assurance: got.Assurance,
	}
	for _, r := range got.Results {
		have.Results += fmt.Sprintf("%s %s, ", r.Name, r.Type)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("facts differ (-want +got):\n%s", diff)
	}
	for _, id := range []verify.CheckID{
		verify.CheckMessage, verify.CheckReserved, verify.CheckCoverage, verify.CheckFormat, verify.CheckTaskRunUID,
		verify.CheckPod, verify.CheckPosition, verify.CheckKey, verify.CheckSignature, verify.CheckPayload, verify.CheckToken,
		verify.CheckCredentialLeak, verify.CheckTokenReuse, verify.CheckTime, verify.CheckDeclaration, verify.CheckResults,
		verify.CheckStepResults, verify.CheckArtifacts, verify.CheckSucceeded, verify.CheckAssurance,
	} {
		if !slices.ContainsFunc(got.Checks, func(c verify.Check) bool { return c.ID == id && c.Status == verify.Pass }) {
			t.Errorf("check %s is not reported as passed", id)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	v, tr := newVerifier(t), newTaskRun(t, nil)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got := v.TaskRun(t.Context(), tr, verify.Facts{}); got.Verdict != verify.Verified {
				t.Errorf("verdict %s", got.Verdict)
			}
		})
	}
	group.Wait()
}

func TestZeroValuesAreNoSuccess(t *testing.T) {
	var v verify.Verdict
	for _, other := range verify.Verdicts() {
		if other != verify.Failed && verify.Worse(v, other) != v {
			t.Errorf("the zero verdict ranks below %s", other)
		}
	}
	if (verify.Result{}).Verdict == verify.Verified {
		t.Error("the zero result is verified")
	}
}

func TestNewRefuses(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.New(nil); err == nil {
		t.Error("no cluster is accepted")
	}
	for name, option := range map[string]verify.Option{
		"negative skew": verify.WithClockSkew(-time.Second),
		"empty prefix":  verify.WithTokens(verify.Tokens{Lifetime: time.Hour}),
	} {
		if _, err := verify.New(cluster, option); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
