// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import "testing"

// TestNightlyBudgetArithmetic compares the numbers of the command budget with those of real pods, with the features of
// Tekton that change messages, and with the other delivery.
func TestNightlyBudgetArithmetic(t *testing.T) {
	c := open(t)
	c.enableIn(t, "--namespace-selector", selector, "--delivery", "init")
	t.Run("init container", func(t *testing.T) { testBudgetArithmetic(t, c) })
	for name, features := range map[string]map[string]string{
		"compression":  {"enable-termination-message-compression": "true"},
		"sidecar logs": {"results-from": "sidecar-logs"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &replaySuite{cluster: c, namespace: c.namespace(t, true)}
			s.setFeatures(t, features)
			testBudgetArithmetic(t, c)
		})
	}
	t.Run("format v1", func(t *testing.T) {
		args := enableArgs("--yes", "--format", "v1", "--minimum-format", "v1")
		if out := c.kubectl(t, args...); out.code != 0 {
			t.Fatalf("enable: %s", out)
		}
		testBudgetArithmetic(t, c)
	})
}
