// SPDX-License-Identifier: Apache-2.0

package spiretest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/result"
)

// TestTektonsOwnRoundTrip checks that the clients work. Without it, a verifier that refuses everything would
// pass the other tests.
func TestTektonsOwnRoundTrip(t *testing.T) {
	d := New(t)
	d.Serve(ID("ci", "build"))
	results := []result.RunResult{{Key: "a", Value: "1", ResultType: result.TaskRunResultType}}
	signed := slices.Concat(results, d.Sign(t, results))
	if err := d.Verify(t, "ci", "build", signed); err != nil {
		t.Errorf("Tekton refuses its own signatures: %v", err)
	}
	signed[0].Value = "2"
	if err := d.Verify(t, "ci", "build", signed); err == nil {
		t.Error("Tekton accepts a changed value")
	}
}

func TestNoProgramLinksThis(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/tekton-sign/kubectl-tekton-sign/cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 500 {
		t.Fatalf("go list names only %d packages", len(packages))
	}
	for _, p := range packages {
		if strings.HasSuffix(p, "/spiretest") || strings.Contains(p, "tektoncd/pipeline/pkg/spire/test") {
			t.Errorf("a program links %s", p)
		}
	}
}
