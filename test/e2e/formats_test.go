// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// formatCase is a way to sign, what each step of a TaskRun then carries, and what a verifier makes of it without
// the cluster. While the pod lives each is VERIFIED, by the add-on and by the plugin.
type formatCase struct {
	name      string
	flags     []string // of enable
	carriers  []string
	live      signing.Assurance
	options   []verify.Option // offline
	verdict   verify.Verdict
	assurance signing.Assurance // of a verified one
	reason    string            // of another
}

func formatCases() []formatCase {
	v2Key := []string{"RESULT_MANIFEST", "RESULT_MANIFEST.sig", "SIGNING_PUBKEY", "SIGNING_TOKEN"}
	v1 := []string{"RESULT_MANIFEST", "RESULT_MANIFEST.sig", "SIGNING_PUBKEY", "SIGNING_TOKEN", "digest.sig"}
	return []formatCase{
		{
			name: "v2-payload", flags: []string{"--audience", "our-results", "--token-lifetime", "20m"},
			carriers: []string{"RESULT_MANIFEST", "SIGNING_TOKEN"},
			options:  []verify.Option{verify.WithTokens(verify.Tokens{Audience: "our-results", Lifetime: 20 * time.Minute})},
			verdict:  verify.Verified, assurance: signing.AssurancePayloadBound, live: signing.AssurancePayloadBound,
		},
		{
			name: "v2-key", flags: []string{"--audience", signing.AudiencePrefix, "--binding", "key"}, carriers: v2Key,
			verdict: verify.Verified, assurance: signing.AssuranceKeyBound, live: signing.AssuranceKeyBound,
		},
		{
			name: "v2-audience", flags: []string{"--binding", "audience"}, carriers: v2Key,
			verdict: verify.Indeterminate, reason: string(verify.CheckAssurance), live: signing.AssuranceAudienceOnly,
		},
		{
			name: "v1-key", flags: []string{"--format", "v1"}, carriers: v1,
			verdict: verify.Verified, assurance: signing.AssuranceLegacy, live: signing.AssuranceLegacy,
		},
		{
			name: "v1-audience", flags: []string{"--format", "v1", "--binding", "audience"}, carriers: v1,
			verdict: verify.Indeterminate, reason: string(verify.CheckAssurance), live: signing.AssuranceLegacy,
		},
	}
}

// TestFormats enables one way to sign after the other, and runs a TaskRun of two steps under each. What values by
// sidecar log need is in TestReplay.
func TestFormats(t *testing.T) {
	c := open(t)
	c.enable(t)
	ns := c.namespace(t, true)
	bundle, err := trust.Parse([]byte(c.mustKubectl(t, "tekton-sign", "trust", "export")))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range formatCases() {
		t.Run(f.name, func(t *testing.T) {
			if out := c.kubectl(t, enableArgs(append(f.flags, "--yes")...)...); out.code != 0 {
				t.Fatalf("enable: %s", out)
			}
			tr := c.finish(t, ns, formatTaskRun(f.name))
			wantSucceeded(t, tr)
			wantCarriers(t, tr, f.carriers)
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
			live := c.verify(t, string(verify.Verified), 0, "taskrun/"+tr.Name, "-n", ns)
			if got := live.Items[0].Assurance; got != string(f.live) {
				t.Errorf("live: assurance %q, want %q", got, f.live)
			}
			verifier, err := verify.New(&bundle.Clusters[0], append(f.options, verify.WithUnrecorded())...)
			if err != nil {
				t.Fatal(err)
			}
			r := verifier.TaskRun(t.Context(), tr, verify.Facts{})
			if r.Verdict != f.verdict || r.Assurance != f.assurance || r.Reason != f.reason {
				checks, _ := json.MarshalIndent(r.Checks, "", " ")
				t.Errorf("%s %q with assurance %q, want %s %q with %q\n%s",
					r.Verdict, r.Reason, r.Assurance, f.verdict, f.reason, f.assurance, checks)
			}
		})
	}
}

// formatTaskRun has two steps, and emits results that every format can sign.
func formatTaskRun(name string) *pipelinev1.TaskRun {
	tr := &pipelinev1.TaskRun{}
	tr.Name = name
	tr.Spec.TaskSpec = &pipelinev1.TaskSpec{
		Results: []pipelinev1.TaskResult{{Name: "digest"}, {Name: "tags", Type: pipelinev1.ResultsTypeArray}},
		Steps: []pipelinev1.Step{
			{Name: "build", Image: "docker.io/library/busybox:1.36", Script: "#!/bin/sh\nprintf old > $(results.digest.path)\n"},
			{Name: "publish", Image: "docker.io/library/busybox:1.36",
				Script: "#!/bin/sh\nprintf new > $(results.digest.path)\n" +
					`printf '[ "a", "b" ]' > $(results.tags.path)` + "\n"},
		},
	}
	return tr
}

// wantCarriers looks into the message of each step. Signatures of results are looked for in the last step's only.
func wantCarriers(t *testing.T, tr *pipelinev1.TaskRun, want []string) {
	t.Helper()
	if len(tr.Status.Steps) != 2 {
		t.Fatalf("%d steps, want 2", len(tr.Status.Steps))
	}
	for i, s := range tr.Status.Steps {
		var entries []result.RunResult
		if err := json.Unmarshal([]byte(s.Terminated.Message), &entries); err != nil {
			t.Fatalf("step %s: %v", s.Name, err)
		}
		var got []string
		for _, e := range entries {
			if signing.IsLegacyCarrier(e.Key) && e.ResultType == result.TaskRunResultType {
				got = append(got, e.Key)
			}
		}
		expected := slices.Clone(want)
		if i == 1 && slices.Contains(want, "digest.sig") {
			expected = append(expected, "tags.sig")
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("carriers of step %s differ (-want +got):\n%s", s.Name, diff)
		}
	}
}
