// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNightlyReceiptsByLog has results travel by the log of Tekton's results sidecar: without the right to read
// logs there is no receipt, and with it there is.
func TestNightlyReceiptsByLog(t *testing.T) {
	c := open(t)
	c.enableWith(t, "receipt", "--namespace-selector", selector)
	ns := c.receiptNamespace(t)
	s := &replaySuite{cluster: c, namespace: ns}
	s.allowLogs(t)
	s.setFeatures(t, map[string]string{"results-from": "sidecar-logs"})
	c.wantLogRight(t, "no")
	without := c.finish(t, ns, another(t, "results"))
	wantSucceeded(t, without)
	c.verifyReceipt(t, without, outcomeCase{verdict: "INDETERMINATE"})
	if message := without.Status.GetCondition(conditionType).Message; !strings.Contains(message, "read-sidecar-logs") {
		t.Errorf("the condition does not name the setting: %s", message)
	}

	args := []string{"tekton-sign", "enable", "receipt", "--yes", "--namespace-selector", selector, "--read-sidecar-logs"}
	if out := c.kubectl(t, args...); out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	c.wantLogRight(t, "yes")
	with := c.recorded(t, c.finish(t, ns, another(t, "results")))
	wantCondition(t, with, "True", "TaskRunResultsVerified")
	c.verify(t, "VERIFIED", 0, "taskrun/"+with.Name, "-n", ns)
	if out := c.kubectl(t, "tekton-sign", "evidence", "taskrun/"+with.Name, "-n", ns); !strings.Contains(out.stdout,
		"log SHA-256") {
		t.Errorf("evidence does not show the digest of the log: %s", out)
	}
	forged := []byte(`[{"op":"replace","path":"/status/results/0/value","value":"forged"}]`)
	patched, err := c.tekton.TektonV1().TaskRuns(ns).Patch(t.Context(), with.Name, types.JSONPatchType, forged,
		metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	wantCondition(t, patched, "False", "TaskRunResultsVerificationFailed")
}

// wantLogRight wants RBAC to let the add-on read logs of pods, or not.
func (c *cluster) wantLogRight(t *testing.T, want string) {
	t.Helper()
	out := c.kubectl(t, "auth", "can-i", "get", "pods", "--subresource=log", "-A",
		"--as=system:serviceaccount:tekton-sign:controller")
	if got := strings.TrimSpace(out.stdout); got != want {
		t.Errorf("may the add-on read logs: got %s, want %s", got, want)
	}
}
