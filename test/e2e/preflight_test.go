// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/preflight"
)

// brokenCluster is a cluster with one fault.
type brokenCluster struct {
	name  string
	spoil func(t *testing.T, c *cluster, ns string)
	args  []string
	as    []string
	id    preflight.ID    // of the check that finds it
	state preflight.State // of that check
	// fix is whether the next step is one command, which repairs it.
	fix bool
}

func brokenClusters() []brokenCluster {
	return []brokenCluster{
		{
			name: "Tekton's own signer is on", id: "TS105", state: preflight.Warning, fix: true,
			spoil: func(t *testing.T, c *cluster, _ string) {
				c.setFlags(t, map[string]string{"enforce-nonfalsifiability": "spire"})
			},
		},
		{
			name: "no retries of pod creation", id: "TS106", state: preflight.Warning, fix: true,
			args:  []string{"--enforcement", "enforce"},
			spoil: func(t *testing.T, c *cluster, _ string) { c.setFlags(t, map[string]string{}) },
		},
		{
			name: "a user who may not discover the issuer", id: "TS401", state: preflight.Unknown, fix: true,
			as: []string{"--as", "e2e-viewer", "--as-group", "e2e-viewers"},
			spoil: func(t *testing.T, c *cluster, _ string) {
				c.mustKubectl(t, "create", "clusterrolebinding", "e2e-viewers", "--clusterrole=view", "--group=e2e-viewers")
				t.Cleanup(func() {
					c.kubectlUntil(context.Background(), t, "", "delete", "clusterrolebinding", "--ignore-not-found",
						"e2e-viewers", "issuer-discovery")
				})
			},
		},
		{
			name: "a label that is no mode", id: "TS602", state: preflight.Warning, fix: true,
			spoil: func(t *testing.T, c *cluster, ns string) {
				c.mustKubectl(t, "label", "namespace", ns, "tekton-sign.dev/enforcement=on")
			},
		},
		{
			name: "a user without rights", id: "TS201", state: preflight.Unknown, as: []string{"--as", "nobody"},
			spoil: func(*testing.T, *cluster, string) {},
		},
		{
			name: "a policy that admits one registry", id: "TS603", state: preflight.Warning,
			spoil: func(t *testing.T, c *cluster, ns string) {
				c.refusePods(t, ns, `object.spec.?volumes.orValue([]).all(v, !has(v.image)) && `+
					`object.spec.?initContainers.orValue([]).all(i, !i.name.startsWith('tekton-sign'))`)
			},
		},
		{
			name: "a NetworkPolicy without egress", id: "TS604", state: preflight.Warning,
			spoil: func(t *testing.T, c *cluster, ns string) {
				c.mustApply(t, `{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",`+
					`"metadata":{"name":"closed","namespace":"`+ns+`"},"spec":{"podSelector":{},"policyTypes":["Egress"]}}`)
			},
		},
		{
			name: "a Task of twelve steps", id: "TS701", state: preflight.Failed,
			args: []string{"--enforcement", "enforce"},
			spoil: func(t *testing.T, c *cluster, ns string) {
				c.setFlags(t, map[string]string{"enable-wait-exponential-backoff": "true"})
				step := `{"image":"docker.io/library/busybox:1.36","script":"true"}`
				c.mustApply(t, `{"apiVersion":"tekton.dev/v1","kind":"Task","metadata":{"name":"long","namespace":"`+ns+`"},`+
					`"spec":{"steps":[`+strings.Join(slices.Repeat([]string{step}, 12), ",")+`]}}`)
			},
		},
		{
			name: "an image that nobody can pull", id: "TS502", state: preflight.Failed,
			args: []string{"--registry", "registry.invalid/tekton-sign"}, spoil: func(*testing.T, *cluster, string) {},
		},
	}
}

// TestPreflight breaks a cluster in several ways: preflight names the one cause, and its next step repairs it.
func TestPreflight(t *testing.T) {
	c := open(t)
	ns := c.namespaceWith(t, nil)
	if got := bad(c.preflight(t, 0, nil, "--namespaces", ns)); len(got) > 0 {
		t.Fatalf("a sound cluster: got %v", got)
	}
	for _, b := range brokenClusters() {
		t.Run(b.name, func(t *testing.T) { c.wantFound(t, b) })
	}
}

func (c *cluster) wantFound(t *testing.T, b brokenCluster) {
	t.Helper()
	ns := c.namespaceWith(t, nil)
	b.spoil(t, c, ns)
	args := append([]string{"--namespaces", ns}, b.args...)
	code := map[preflight.State]int{preflight.Failed: 4, preflight.Unknown: 2, preflight.Warning: 0}[b.state]
	i, of := 0, func(c preflight.Result) bool { return c.ID == b.id }
	c.eventually(t, string(b.id)+" to find it", func(context.Context) (bool, error) { // a new policy needs a moment
		r := c.preflight(t, -1, b.as, append(args, "--only", string(b.id))...)
		i = slices.IndexFunc(r.Checks, of)
		return i >= 0 && r.Checks[i].State == b.state, nil
	})
	r := c.preflight(t, code, b.as, args...)
	if i = slices.IndexFunc(r.Checks, of); i < 0 || r.Checks[i].State != b.state {
		t.Fatalf("want %s %s, got %v", b.id, b.state, bad(r))
	}
	if len(b.as) == 0 { // a user with few rights cannot read more than one thing
		if got := bad(r); len(got) != 1 {
			t.Errorf("want one cause, got %v", got)
		}
	}
	next := ""
	for _, f := range r.Checks[i].Findings {
		next += f.Next
	}
	if next == "" {
		t.Fatalf("%s has no next step: %+v", b.id, r.Checks[i])
	}
	if !b.fix {
		return
	}
	if out := c.shell(t, next); out.code != 0 {
		t.Fatalf("the next step failed: %s", out)
	}
	c.eventually(t, "the check to pass after its next step", func(context.Context) (bool, error) {
		again := c.preflight(t, -1, b.as, append(args, "--only", string(b.id))...)
		return again.Checks[0].State == preflight.Passed, nil
	})
}

// bad returns the checks that did not pass, with their states.
func bad(r *preflight.Report) []string {
	var found []string
	for _, c := range r.Checks {
		if c.State != preflight.Passed && c.State != preflight.Skipped {
			found = append(found, string(c.ID)+" "+string(c.State))
		}
	}
	return found
}

// preflight runs the command, and checks its exit code, unless that is negative, and its report.
func (c *cluster) preflight(t *testing.T, code int, as []string, args ...string) *preflight.Report {
	t.Helper()
	all := slices.Concat([]string{"tekton-sign", "preflight", "oidc-sa-token", "-o", "json"}, as, args)
	out := c.kubectl(t, all...)
	if code >= 0 && out.code != code {
		t.Errorf("preflight: want exit code %d: %s", code, out)
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema",
		"preflightreport.v1alpha1.json"))
	must(t, err)
	object, err := jsonschema.UnmarshalJSON(strings.NewReader(out.stdout))
	must(t, err)
	must(t, schema.Validate(object))
	var r preflight.Report
	must(t, json.Unmarshal([]byte(out.stdout), &r))
	return &r
}

// shell runs a command as a person does who copies it.
func (c *cluster) shell(t *testing.T, command string) output {
	t.Helper()
	return run(t.Context(), t, "", c.environment(), "sh", "-c", command)
}

func (c *cluster) mustApply(t *testing.T, manifest string) {
	t.Helper()
	if out := c.kubectlWithInput(t, manifest, "apply", "-f", "-"); out.code != 0 {
		t.Fatalf("apply: %s", out)
	}
}
