// SPDX-License-Identifier: Apache-2.0

package status

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func TestConclude(t *testing.T) {
	for _, c := range []struct {
		statuses []verify.Status
		off      bool
		want     Outcome
		text     string
	}{
		{nil, false, Healthy, "signing is on, and all is well"},
		{[]verify.Status{verify.Pass, verify.Note}, false, Healthy, "signing is on, and all is well"},
		{[]verify.Status{verify.Pass, verify.Warn, verify.Warn}, false, Warnings, "signing is on, with 2 warnings"},
		{[]verify.Status{verify.Warn}, true, Off, "signing is off"},
		{[]verify.Status{verify.Warn, verify.Unknown}, false, Unknown, "1 check could not be made"},
		{[]verify.Status{verify.Unknown}, true, Unknown, "1 check could not be made"},
		{
			[]verify.Status{verify.Unknown, verify.Fail, verify.Warn}, false, Broken,
			"1 check failed, 1 could not be made, 1 warning",
		},
		{[]verify.Status{verify.Fail}, true, Broken, "1 check failed"},
		{[]verify.Status{verify.Missing}, false, Broken, "1 check failed"},
		{[]verify.Status{""}, false, Broken, "1 check failed"}, // a check without a status has failed
	} {
		s := &Status{}
		for _, status := range c.statuses {
			s.Checks = append(s.Checks, Check{Status: status})
		}
		s.Conclude(c.off)
		if s.Outcome != c.want || s.String() != c.text {
			t.Errorf("%v, off %v: got %s (%s), want %s (%s)", c.statuses, c.off, s.Outcome, s, c.want, c.text)
		}
	}
}

// Monitors rely on the ids.
func TestChecksAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range CheckIDs() {
		if !strings.Contains(string(text), "\n| `"+string(id)+"` | ") {
			t.Errorf("docs/operations.md does not describe %s", id)
		}
	}
}

func TestObjectNames(t *testing.T) {
	namespaced := Object{Group: "apps", Kind: "Deployment", Namespace: "tekton-sign", Name: "x"}
	const want = "Deployment tekton-sign/x deployment.apps/x"
	if got := namespaced.String() + " " + namespaced.Resource(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	core := Object{Kind: "Namespace", Name: "ci"}
	if got, want := core.String()+" "+core.Resource(), "Namespace ci namespace/ci"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
