// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func TestTekton(t *testing.T) {
	testAmiss(t, CheckTekton, map[string]amissCase{
		"Tekton is gone": {
			dropped[deployment]("tekton-pipelines-controller"), status.Broken,
			[]string{"fail tekton: no Tekton Pipelines in namespace openshift-pipelines"},
		},
	})
}

func TestFeatureFlags(t *testing.T) {
	testAmiss(t, CheckFeatureFlags, map[string]amissCase{
		"Tekton signs, too": {
			edited("feature-flags", func(c settingsMap) { c.Data["enforce-nonfalsifiability"] = "spire" }), status.Warnings,
			[]string{"warn tekton-signer ConfigMap openshift-pipelines/feature-flags", "expected none, got spire"},
		},
		"Tekton does not wait": {
			edited("feature-flags", func(c settingsMap) { delete(c.Data, "enable-wait-exponential-backoff") }), status.Warnings,
			[]string{"warn backoff", "expected true, got (absent)"},
		},
	})
}

// TestTektonsSignerWithoutFlags: a missing ConfigMap means that Tekton's own signer is off.
func TestTektonsSignerWithoutFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		signer settings.Signer
		drop   bool
		want   verify.Status // empty: no check
	}{
		"left to Tekton":           {settings.SignerTekton, false, verify.Fail},
		"left to Tekton, no flags": {settings.SignerTekton, true, verify.Fail},
		"of the add-on":            {settings.SignerAddOn, false, verify.Pass},
		"of the add-on, no flags":  {settings.SignerAddOn, true, ""},
	} {
		in := newInstalled(t, func(s *settings.Settings) { s.Backend, s.SPIRE.Signer = signing.BackendSPIRE, tc.signer })
		if tc.drop {
			drop[settingsMap](in, "feature-flags")
		}
		var got verify.Status
		for _, c := range CheckFeatureFlags(t.Context(), in.read()) {
			if c.ID == status.CheckTektonSigner {
				got = c.Status
			}
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// TestSidecarLogs: with receipts alone, the add-on needs to see the results that travel by log.
func TestSidecarLogs(t *testing.T) {
	for name, tc := range map[string]struct {
		backend signing.Backend
		read    bool
		from    string
		want    verify.Status // empty: no check
	}{
		"may not read": {signing.BackendReceipt, false, "sidecar-logs", verify.Warn},
		"reads":        {signing.BackendReceipt, true, "sidecar-logs", verify.Pass},
		"by message":   {signing.BackendReceipt, false, "termination-message", ""},
		"signed":       {signing.BackendOIDCSAToken, false, "sidecar-logs", ""},
	} {
		in := newInstalled(t, func(s *settings.Settings) { s.Backend, s.SidecarLogs = tc.backend, tc.read })
		edited("feature-flags", func(c settingsMap) { c.Data["results-from"] = tc.from })(in)
		var got verify.Status
		for _, c := range CheckFeatureFlags(t.Context(), in.read()) {
			if c.ID == status.CheckSidecarLogs {
				got = c.Status
			}
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestOtherControllers(t *testing.T) {
	testAmiss(t, CheckOtherControllers, map[string]amissCase{
		"a second controller of Tekton": {
			func(in *installed) { in.add(enabletest.Tenant("-namespace", "ci")) }, status.Broken,
			[]string{"fail tekton: more than one controller", "Deployment b/tekton-pipelines-controller", "namespace ci"},
		},
	})
}

// Tekton is found in workloads of any kind, and controllers of tenants out of scope are not a problem.
func TestStatusTektonsKind(t *testing.T) {
	for name, edit := range map[string]edit{
		"a StatefulSet": func(in *installed) {
			drop[deployment](in, "tekton-pipelines-controller")
			in.add(enabletest.StatefulTekton(tektonNamespace, 3))
		},
		"a pod": func(in *installed) {
			drop[deployment](in, "tekton-pipelines-controller")
			in.add(enabletest.TektonPod(tektonNamespace, "tekton-x"))
		},
		"a tenant's out of scope": func(in *installed) { in.add(enabletest.Tenant("-namespace", "other")) },
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			edit(in)
			s := in.status(0)
			if got := amiss(s.Checks); s.Outcome != status.Healthy || s.Environment.Tekton != "v1.15.0" {
				t.Errorf("got %s with Tekton %q, want %s; amiss:\n%s", s.Outcome, s.Environment.Tekton, status.Healthy, got)
			}
		})
	}
}
