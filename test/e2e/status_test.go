// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
)

// reader gives the group tekton-sign-monitors what status reads.
const reader = "../../config/monitoring/status-reader.yaml"

// TestStatus: status tells that signing is on, what somebody changed since, that the advised step repairs it, and
// that signing is off. While it is on, somebody asks who may write nothing and read no Secret.
func TestStatus(t *testing.T) {
	c := open(t)
	c.wantStatus(t, nil, 3, "OFF: signing is off")
	namespace := c.namespaceWith(t, nil)
	c.enableIn(t, "--namespaces", namespace)
	c.mustKubectl(t, "apply", "-f", reader)
	t.Cleanup(func() {
		c.kubectlUntil(context.Background(), t, "", "delete", "--ignore-not-found", "-f", reader)
	})
	monitor := []string{"--as", "e2e-monitor", "--as-group", "tekton-sign-monitors"}
	tr := c.finish(t, namespace, fixture(t, "results"))
	c.untilHealthy(t, monitor)
	c.wantStatus(t, monitor, 0, "\n✓ HEALTHY: signing is on", "1 VERIFIED", namespace+"/"+tr.Name,
		"you may not read Secret")

	c.mustKubectl(t, "delete", "validatingadmissionpolicy", "tekton-sign-signing-tokens")
	out := c.wantStatus(t, monitor, 4, "ValidatingAdmissionPolicy tekton-sign-signing-tokens: is missing")
	c.repair(t, monitor, out)

	c.mustKubectl(t, "patch", "mutatingwebhookconfiguration", "tekton-sign-status", "--type=json",
		"-p", `[{"op":"replace","path":"/webhooks/1/failurePolicy","value":"Ignore"}]`)
	out = c.wantStatus(t, monitor, 4, "MutatingWebhookConfiguration tekton-sign-status: was changed",
		"webhooks[status-enforce.tekton-sign.dev].failurePolicy", "expected Fail", "got      Ignore")
	c.repair(t, monitor, out)

	c.wantStatus(t, []string{"--as", "nobody"}, 2, "you may not read ConfigMap tekton-pipelines/config-signing")
	if out := c.kubectl(t, "tekton-sign", "disable", "--purge", "--yes"); out.code != 0 {
		t.Fatalf("disable: %s", out)
	}
	c.wantStatus(t, nil, 3, "OFF: signing is off")
}

// status looks as somebody.
func (c *cluster) status(t *testing.T, as []string) output {
	t.Helper()
	return c.kubectl(t, append([]string{"tekton-sign", "status"}, as...)...)
}

func (c *cluster) wantStatus(t *testing.T, as []string, code int, parts ...string) output {
	t.Helper()
	out := c.status(t, as)
	if out.code != code {
		t.Errorf("status: want exit code %d: %s", code, out)
	}
	for _, part := range parts {
		if !strings.Contains(out.stdout, part) {
			t.Errorf("status: want %q: %s", part, out)
		}
	}
	return out
}

// untilHealthy waits until nothing is amiss.
func (c *cluster) untilHealthy(t *testing.T, as []string) {
	t.Helper()
	last := output{}
	defer func() {
		if t.Failed() {
			t.Logf("status says: %s", last)
		}
	}()
	c.eventually(t, "status to find all well", func(context.Context) (bool, error) {
		last = c.status(t, as)
		return last.code == 0, nil
	})
}

// repair runs the command that status advises, and wants all to be well then.
func (c *cluster) repair(t *testing.T, as []string, out output) {
	t.Helper()
	const advice = "kubectl tekton-sign enable "
	at := strings.Index(out.stdout, advice)
	if at < 0 {
		t.Fatalf("status advises nothing: %s", out)
	}
	line, _, _ := strings.Cut(out.stdout[at:], "\n")
	c.mustKubectl(t, append(strings.Fields(strings.TrimPrefix(line, "kubectl ")), "--yes")...)
	c.untilHealthy(t, as)
}
