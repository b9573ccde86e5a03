// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// TestMessageThatTheKubeletCut checks that a cut message is FAILED like any other that cannot be read, but is
// not called tampering.
func TestMessageThatTheKubeletCut(t *testing.T) {
	long := func(n int) string { return (`[{"key":"report","value":"` + strings.Repeat("y", 5000))[:n] }
	for name, c := range map[string]struct {
		message  string
		sidecars int
		said     string
	}{
		"3 containers": {
			long(4096), 0, "ends after 4096 bytes, where the kubelet cuts those of a pod with 3 containers",
		},
		"4 containers": {
			long(3072), 0, "ends after 3072 bytes, where the kubelet cuts those of a pod with 4 containers",
		},
		"9 containers":                {long(1365), 0, "with 9 containers"},
		"9 containers, half a letter": {long(1363) + "\ufffd", 0, "with 9 containers"},
		"compressed":                  {"tknz:" + strings.Repeat("A", 3067), 0, "with 4 containers"},
		"with fewer than there are":   {long(3072), 4, "was cut off or changed"},
		"elsewhere":                   {long(3000), 0, "was cut off or changed"},
		"longer than any":             {long(4097), 0, "was cut off or changed"},
		"to its end":                  {long(4095) + "]", 0, "was cut off or changed"},
		"no message of Tekton's":      {strings.Repeat("y", 4096), 0, "was cut off or changed"},
		"nothing but half letters":    {"[" + strings.Repeat("\ufffd", 100), 0, "was cut off or changed"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTaskRun(t, nil)
			tr.Status.Steps[0].Terminated.Message = c.message
			tr.Status.Sidecars = make([]v1.SidecarState, c.sidecars)
			got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
			if got.Verdict != verify.Failed || got.Reason != "message" || !strings.Contains(got.Message, c.said) {
				t.Errorf("got %s %s: %s, want FAILED message: %s", got.Verdict, got.Reason, got.Message, c.said)
			}
		})
	}
}
