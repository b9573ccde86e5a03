// SPDX-License-Identifier: Apache-2.0

package backends_test

import (
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestTable checks that every backend except BackendNone has one complete row.
func TestTable(t *testing.T) {
	rows := map[signing.Backend]int{}
	for _, d := range backends.All() {
		rows[d.Name]++
		switch {
		case d.Summary == "" || strings.HasSuffix(d.Summary, "."):
			t.Errorf("%s: got summary %q, want one line without a full stop", d.Name, d.Summary)
		case d.Enabled && d.Signs && d.Reader == nil:
			t.Errorf("%s signs, and nothing reads what it signs", d.Name)
		case d.Tokens && !d.Signs:
			t.Errorf("%s needs tokens for steps that do not sign", d.Name)
		}
	}
	for _, name := range signing.Backends() {
		if want := 1; name != signing.BackendNone && rows[name] != want {
			t.Errorf("backend %s has %d rows, want %d", name, rows[name], want)
		}
	}
	if len(rows) != len(signing.Backends())-1 {
		t.Errorf("got %d backends, want those of package signing", len(rows))
	}
}

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		backend  signing.Backend
		policies settings.Policies
		err      string
	}{
		"off":              {signing.BackendNone, settings.PoliciesAuto, ""},
		"off, no policies": {signing.BackendNone, settings.PoliciesNone, ""},
		"on":               {signing.BackendOIDCSAToken, settings.PoliciesAuto, ""},
		"on, strict":       {signing.BackendOIDCSAToken, settings.PoliciesStrict, ""},
		"tokens, no policies": {
			signing.BackendOIDCSAToken, settings.PoliciesNone, "backend oidc-sa-token needs policies standard or strict",
		},
		"spire": {signing.BackendSPIRE, settings.PoliciesAuto, ""},
		"sigstore": {
			signing.BackendSigstoreKeyless, settings.PoliciesAuto, "backend sigstore-keyless is not yet in this version",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings.Default()
			s.Backend, s.Policies = tc.backend, tc.policies
			err := backends.Check(s)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
		})
	}
}
