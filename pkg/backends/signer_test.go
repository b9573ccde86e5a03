// SPDX-License-Identifier: Apache-2.0

package backends_test

import (
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestLeave checks that no pod gets both signers, and that what Tekton's signs counts only where format v1 does.
func TestLeave(t *testing.T) {
	const bothOn, tektonsSwitch = "and so is the add-on's", "enforce-nonfalsifiability in ConfigMap feature-flags"
	for name, tc := range map[string]struct {
		backend signing.Backend
		signer  settings.Signer
		mode    settings.Enforcement
		minimum signing.Format
		active  bool // Tekton's own signer
		left    bool
		signs   bool
		reason  string
	}{
		"ours":         {signing.BackendSPIRE, settings.SignerAddOn, settings.Audit, "", false, false, false, ""},
		"ours, tokens": {signing.BackendOIDCSAToken, settings.SignerAddOn, settings.Audit, "", false, false, false, ""},
		"the setting is of another backend": {
			signing.BackendOIDCSAToken, settings.SignerTekton, settings.Audit, "", false, false, false, "",
		},
		"Tekton's":           {signing.BackendSPIRE, settings.SignerTekton, settings.Audit, "", true, true, true, ""},
		"Tekton's, enforced": {signing.BackendSPIRE, settings.SignerTekton, settings.Enforce, "v1", true, true, true, ""},
		"Tekton's, enforced without v1": {
			signing.BackendSPIRE, settings.SignerTekton, settings.Enforce, "", true, true, false, "--minimum-format v1",
		},
		"Tekton's, off": {
			signing.BackendSPIRE, settings.SignerTekton, settings.Audit, "", false, true, false, "that is off",
		},
		"both":           {signing.BackendSPIRE, settings.SignerAddOn, settings.Audit, "", true, true, true, bothOn},
		"both, enforced": {signing.BackendSPIRE, settings.SignerAddOn, settings.Enforce, "v1", true, true, true, bothOn},
		"both, and v1 does not count": {
			signing.BackendSPIRE, settings.SignerAddOn, settings.Audit, "v2", true, true, false, "does not count",
		},
		"both, enforced without v1": {
			signing.BackendSPIRE, settings.SignerAddOn, settings.Enforce, "", true, true, false, "does not count",
		},
		"both, and tokens do not verify it": {
			signing.BackendOIDCSAToken, settings.SignerAddOn, settings.Audit, "v1", true, true, false, bothOn,
		},
	} {
		s := settings.Default()
		s.Backend, s.SPIRE.Signer, s.MinimumFormat = tc.backend, tc.signer, tc.minimum
		got, left := backends.Leave(s, tc.mode, tc.active)
		if left != tc.left || got.Signs != tc.signs || (got.Reason == "") != (tc.reason == "") ||
			!strings.Contains(got.Reason, tc.reason) {
			t.Errorf("%s: left %t, %+v", name, left, got)
		}
		if left && got.Reason != "" && !strings.Contains(got.Reason, tektonsSwitch) {
			t.Errorf("%s: the reason does not name Tekton's switch: %s", name, got.Reason)
		}
	}
}

func TestInjects(t *testing.T) {
	for name, tc := range map[string]struct {
		backend signing.Backend
		signer  settings.Signer
		want    bool
	}{
		"tokens":            {signing.BackendOIDCSAToken, settings.SignerTekton, true},
		"spire":             {signing.BackendSPIRE, settings.SignerAddOn, true},
		"spire by Tekton's": {signing.BackendSPIRE, settings.SignerTekton, false},
		"receipt":           {signing.BackendReceipt, settings.SignerAddOn, false},
		"none":              {signing.BackendNone, settings.SignerAddOn, false},
	} {
		s := settings.Default()
		s.Backend, s.SPIRE.Signer = tc.backend, tc.signer
		if got := backends.Injects(s); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
