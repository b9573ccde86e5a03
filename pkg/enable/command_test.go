// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func TestCommand(t *testing.T) {
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	if got, want := Command(s, manifests.DefaultRegistry), "enable oidc-sa-token"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Scope.Selector, s.Enforcement, s.Tokens.Lifetime = "team in (a,b)", settings.Enforce, 20*time.Minute
	s.Exempt = []settings.Account{{Namespace: "ci", Name: "vault"}}
	want := "enable oidc-sa-token --enforcement=enforce --namespace-selector='team in (a,b)' --token-lifetime=20m0s " +
		"--exempt-service-account=ci/vault --registry=reg.example/x"
	if got := Command(s, "reg.example/x"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
