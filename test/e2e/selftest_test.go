// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	signreport "github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/selftest"
)

// testSelftest tests a namespace in which signing is on, and one in which it is off.
func testSelftest(t *testing.T, c *cluster) {
	on, off := c.namespace(t, true), c.namespace(t, false)
	out := c.kubectl(t, "tekton-sign", "selftest", "--namespaces", on+","+off, "-o", "json")
	if out.code != 4 {
		t.Errorf("want exit code 4: %s", out)
	}
	var r signreport.SelftestReport
	must(t, json.Unmarshal([]byte(out.stdout), &r))
	if len(r.Namespaces) != 2 {
		t.Fatalf("want two namespaces: %s", out)
	}
	for _, n := range r.Namespaces {
		want := map[bool]selftest.State{true: selftest.Passed, false: selftest.Failed}[n.Namespace == on]
		if n.State != want {
			t.Errorf("namespace %s: want %s, got %+v", n.Namespace, want, n)
		}
		if n.Namespace == off && !strings.Contains(n.Steps[2].Got, "UNSIGNED") {
			t.Errorf("namespace %s: want the step verify to fail as UNSIGNED, got %+v", off, n.Steps[2])
		}
		left, err := c.tekton.TektonV1().TaskRuns(n.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(left.Items) > 0 {
			t.Errorf("canaries that are left: %v, %v", left, err)
		}
	}
	out = c.kubectl(t, "tekton-sign", "selftest", "-n", on)
	if out.code != 0 || !strings.Contains(out.stdout, "✓ PASSED") {
		t.Errorf("want PASSED and exit code 0: %s", out)
	}
}
