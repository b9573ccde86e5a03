// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// conditionType is the condition of TEP-0089.
const conditionType apis.ConditionType = "SignedResultsVerified"

func wantSucceeded(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	if !tr.IsSuccessful() {
		t.Errorf("TaskRun %s did not succeed: %v", tr.Name, tr.Status.GetCondition(apis.ConditionSucceeded))
	}
}

func wantCondition(t *testing.T, tr *pipelinev1.TaskRun, status, reason string) *apis.Condition {
	t.Helper()
	got := tr.Status.GetCondition(conditionType)
	if got == nil {
		t.Fatalf("TaskRun %s has no condition %s, want %s/%s\n%s", tr.Name, conditionType, status, reason, describe(tr))
	}
	if string(got.Status) != status || got.Reason != reason {
		t.Errorf("TaskRun %s: %s is %s/%s: %s; want %s/%s", tr.Name, conditionType, got.Status, got.Reason, got.Message,
			status, reason)
	}
	if first := tr.Status.Conditions[0].Type; first != apis.ConditionSucceeded { // which many look at alone
		t.Errorf("TaskRun %s: the first condition is %s, want Succeeded", tr.Name, first)
	}
	return got
}

// resultNames returns the names of the results without the signing material, sorted.
func resultNames(tr *pipelinev1.TaskRun) []string {
	names := []string{}
	for _, r := range tr.Status.Results {
		if !signing.IsReserved(r.Name) {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

func wantResultNames(t *testing.T, tr *pipelinev1.TaskRun, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, resultNames(tr)); diff != "" {
		t.Errorf("TaskRun %s has other results (-want +got):\n%s", tr.Name, diff)
	}
}

// report is what the tests read of a VerificationReport.
type report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []struct {
		Verdict   string `json:"verdict"`
		Reason    string `json:"reason"`
		Assurance string `json:"assurance"`
		Checks    []struct {
			ID       string `json:"id"`
			Status   string `json:"status"`
			Expected string `json:"expected"`
			Got      string `json:"got"`
			Message  string `json:"message"`
			Result   string `json:"result"`
		} `json:"checks"`
	} `json:"items"`
}

// verify runs verify and wants a verdict and its exit code; the report has one item.
func (c *cluster) verify(t *testing.T, verdict string, code int, args ...string) report {
	t.Helper()
	return c.verifyInput(t, "", verdict, code, args...)
}

func (c *cluster) verifyInput(t *testing.T, stdin, verdict string, code int, args ...string) report {
	t.Helper()
	args = append([]string{"tekton-sign", "verify", "-o", "json"}, args...)
	out := c.kubectlWithInput(t, stdin, args...)
	var r report
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("kubectl %s: no report: %v\n%s", strings.Join(args, " "), err, out)
	}
	if len(r.Items) != 1 || r.Items[0].Verdict != verdict || out.code != code {
		t.Fatalf("kubectl %s: want one %s and exit code %d: %s", strings.Join(args, " "), verdict, code, out)
	}
	if r.Kind != "VerificationReport" || r.APIVersion != "tekton-sign.dev/v1alpha1" {
		t.Errorf("the report is a %s %s", r.APIVersion, r.Kind)
	}
	return r
}

// failedChecks returns the ids of the checks that failed.
func (r report) failedChecks() []string {
	var ids []string
	for _, check := range r.Items[0].Checks {
		if check.Status == "fail" && !slices.Contains(ids, check.ID) {
			ids = append(ids, check.ID)
		}
	}
	return ids
}

// failedResults returns the names of the results that a failed check names.
func (r report) failedResults() []string {
	var names []string
	for _, check := range r.Items[0].Checks {
		if check.Status == "fail" && check.Result != "" {
			names = append(names, check.Result)
		}
	}
	return names
}

// wantUnsigned wants verify to say UNSIGNED with the reason, and the step's log to say it in one line.
func wantUnsigned(t *testing.T, c *cluster, tr *pipelinev1.TaskRun, reason string) {
	t.Helper()
	wantUnsignedSteps(t, c, tr, reason, len(tr.Status.Steps))
}

// wantUnsignedSteps wants so many of the steps to have logged why they are not signed.
func wantUnsignedSteps(t *testing.T, c *cluster, tr *pipelinev1.TaskRun, reason string, want int) {
	t.Helper()
	r := c.verify(t, "UNSIGNED", 3, "taskrun/"+tr.Name, "-n", tr.Namespace)
	if !strings.Contains(r.Items[0].Reason, reason) {
		t.Errorf("verify gives the reason %q, want it to name %q", r.Items[0].Reason, reason)
	}
	logs := c.mustKubectl(t, "logs", "-n", tr.Namespace, tr.Status.PodName, "--all-containers")
	lines := 0
	for _, line := range strings.Split(logs, "\n") {
		if strings.HasPrefix(line, "tekton-sign:") && strings.Contains(line, reason) {
			lines++
		}
	}
	if lines != want {
		t.Errorf("want a line on %q for each of %d steps, got %d:\n%s", reason, want, lines, logs)
	}
}

func wantFailure(t *testing.T, out output, code int, mentions ...string) {
	t.Helper()
	if out.code != code {
		t.Errorf("want exit code %d: %s", code, out)
	}
	if n := strings.Count(strings.TrimRight(out.stderr, "\n"), "\n"); n != 0 {
		t.Errorf("want one line of error: %s", out)
	}
	for _, want := range mentions {
		if !strings.Contains(out.stderr, want) {
			t.Errorf("want the error to mention %q: %s", want, out)
		}
	}
}

// must ends a test that cannot prepare what it needs.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
