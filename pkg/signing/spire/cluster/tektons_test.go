// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
)

// TestTektonsSigner compares the settings with Tekton's switch: they must agree on who signs.
func TestTektonsSigner(t *testing.T) {
	const turn = `kubectl patch configmap -n tekton feature-flags --type merge -p '{"data":{"enforce-nonfalsifiability":"`
	for name, tc := range map[string]struct {
		backend signing.Backend
		change  func(*settings.Settings)
		value   string // of Tekton's switch; empty: absent
		level   cluster.Level
		message string
		next    string
	}{
		"off":        {signing.BackendSPIRE, nil, "none", cluster.Fine, "Tekton itself does not sign", ""},
		"absent":     {signing.BackendOIDCSAToken, nil, "", cluster.Fine, "Tekton itself does not sign", ""},
		"not ours":   {signing.BackendNone, nil, "spire", cluster.Fine, "Tekton itself signs", ""},
		"Tekton's":   {signing.BackendSPIRE, byTekton, "spire", cluster.Fine, "Tekton itself signs, in format v1", ""},
		"nobody":     {signing.BackendSPIRE, byTekton, "", cluster.Broken, "no step signs", turn + "spire"},
		"nobody yet": {signing.BackendSPIRE, byTekton, "none", cluster.Broken, "no step signs", turn + "spire"},
		"another socket": {signing.BackendSPIRE, func(s *settings.Settings) {
			byTekton(s)
			s.SPIRE.SocketPath = "unix:///run/spire/api.sock"
		}, "spire", cluster.Broken, "no other socket than spire-agent.sock", "enable spire"},
		"both": {
			signing.BackendSPIRE, nil, "spire", cluster.Warning,
			"so is enforce-nonfalsifiability: spire in ConfigMap config-signing", "enable spire --signer tekton",
		},
		"both, and v1 does not count": {signing.BackendSPIRE, func(s *settings.Settings) { s.MinimumFormat = "v2" }, "spire",
			cluster.Broken, "does not count", turn + "none"},
		"both, enforced": {signing.BackendSPIRE, func(s *settings.Settings) { s.Enforcement = settings.Enforce }, "spire",
			cluster.Broken, "does not count", turn + "none"},
		"beside tokens": {signing.BackendOIDCSAToken, nil, "spire", cluster.Warning, "does not verify", turn + "none"},
	} {
		s := settings.Default()
		s.Backend = tc.backend
		if tc.change != nil {
			tc.change(&s)
		}
		flags := map[string]string{}
		if tc.value != "" {
			flags["enforce-nonfalsifiability"] = tc.value
		}
		f := spirecluster.CheckTektonsSigner(s, "tekton", flags)
		if f.Level != tc.level || !strings.Contains(f.Message, tc.message) || !strings.Contains(f.Next, tc.next) ||
			(f.Next == "") != (tc.next == "") {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}

func byTekton(s *settings.Settings) { s.SPIRE.Signer = settings.SignerTekton }
