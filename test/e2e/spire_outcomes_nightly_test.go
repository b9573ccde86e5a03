// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"testing"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// TestNightlySPIREOutcomes runs what TestSPIRE leaves out: the table of outcomes in enforce, and sidecar-logs.
func TestNightlySPIREOutcomes(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t)
	t.Run("in enforce", func(t *testing.T) { s.testOutcomes(t, true) })
	t.Run("sidecar logs", s.testSidecarLogs)
	s.wantNoEntries(t)
}

// testSidecarLogs signs results that travel by the log of Tekton's sidecar, in both modes.
func (s *spireSuite) testSidecarLogs(t *testing.T) {
	namespaces := []string{s.scope(t, false), s.scope(t, true)}
	s.allowLogs(t)
	replays := &replaySuite{cluster: s.cluster, namespace: namespaces[0]}
	replays.setFeatures(t, map[string]string{"results-from": "sidecar-logs"})
	for _, ns := range namespaces {
		tr := s.finish(t, ns, another(t, "results"))
		wantSucceeded(t, tr)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
		wantResultNames(t, tr, "digest", "tags", "image")
		s.recorded(t, tr)
		s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
	}
}
