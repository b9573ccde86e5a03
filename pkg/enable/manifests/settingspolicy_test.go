// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"maps"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// settingsRefusal returns the message that the writer of ConfigMap config-signing sees, empty if it is stored.
func settingsRefusal(t *testing.T, p *admissionv1.ValidatingAdmissionPolicy, data map[string]string) string {
	t.Helper()
	content := map[string]any{}
	for k, v := range data {
		content[k] = v
	}
	_, shown := refusal(t, p, asked{user: "jane", operation: "UPDATE", object: map[string]any{"data": content}}.values(t))
	return shown
}

// The policy admits exactly the settings that the add-on can use. Label selectors are an exception: the policy
// checks only their characters.
func TestSettingsPolicyAgreesWithTheParser(t *testing.T) {
	values := map[string][]string{
		settings.KeyBackend:          {"none", "oidc-sa-token", "receipt", "spire", "sigstore-keyless", "vault", "", "None"},
		settings.KeyEnforcement:      {"audit", "enforce", "warn", "", " audit"},
		settings.KeyEnforcementAlias: {"audit", "enforce", "off"},
		settings.KeyPolicies:         {"none", "standard", "strict", "", "auto"},
		settings.KeyKeepMaterial:     {"true", "false", "yes", ""},
		settings.KeyGateChains:       {"true", "false", "1"},
		settings.KeyDelivery:         {"auto", "image", "init", "sidecar"},
		settings.KeyFormat:           {"v1", "v2", "v3", ""},
		settings.KeyMinimumFormat:    {"v1", "v2", "v0", ""},
		settings.KeyMinimumAssurance: {"receipt", "key-bound", "legacy", "none", ""},
		settings.KeySPIRESigner:      {"add-on", "tekton", "none", ""},
		settings.KeyReceipts:         {"fallback", "never", "auto", ""},
		settings.KeyBinding:          {"payload", "key", "audience", "pod"},
		settings.KeyAudience: {
			"a", "our-results", strings.Repeat("a", 63), strings.Repeat("a", 64), "", "-a", "a-", "A", "a:b", "a\n", "a b",
		},
		settings.KeyTokenSeconds: {
			"600", "599", "601", "999", "1000", "3599", "3600", "3601", "3700", "10000", "0600", "-600", "600s", "", "600\n",
		},
		settings.KeyNamespaces: {
			"ci", "ci,cd", "ci, cd", " ci , cd ", "ci,", ",ci", "", "CI", "c_i", "a.b", strings.Repeat("a", 63),
			strings.Repeat("a", 64), "-a", "ci cd",
		},
		settings.KeyNamespaceSelector: {"a=b", "a in (b,c),!d", "a", "", "a=b\n", "a=\"b\"", "a;b"},
		settings.KeyExemptAccounts: {
			"ci/vault", "ci/vault, cd/argo.x", "ci", "ci/", "/vault", "", "ci/vault/x", "ci/Vault",
		},
		settings.KeyPullSecrets: {
			"mirror", "a.b,c-d", " a , b ", "a,,b", "", "A", "a_b", "a..b", ".a", "-a", "a-", "a/b", "a,b,c,d,e,f,g,h",
			"a,b,c,d,e,f,g,h,i", "a\n",
		},
		"_example":            {"", "anything\nat all"},
		"of-the-future":       {"x", ""},
		"Signing-Enforcement": {"enforce"},
	}
	p := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, testOptions()), SettingsGuard)
	bases := []map[string]string{
		{}, {settings.KeyBackend: "oidc-sa-token"},
		{settings.KeyBackend: "oidc-sa-token", settings.KeyEnforcement: "enforce"},
		{settings.KeyFormat: "v1"}, {settings.KeyFormat: "v1", settings.KeyBinding: "audience"},
		{settings.KeyFormat: "v1", settings.KeyMinimumFormat: "v1", settings.KeyEnforcement: "enforce"},
		{settings.KeyNamespaces: "ci"}, {settings.KeyNamespaceSelector: "a=b"}, {settings.KeyPolicies: "none"},
		{settings.KeyBackend: "spire", settings.KeySPIRESigner: "tekton"},
		{settings.KeyBackend: "spire", settings.KeySPIRESigner: "tekton", settings.KeyMinimumFormat: "v1"},
		{settings.KeySPIRESigner: "tekton", settings.KeyEnforcement: "enforce"},
		{settings.KeyEnforcementAlias: "enforce"}, {settings.KeyEnforcementAlias: "enforce", settings.KeyFormat: "v1"},
	}
	accepted, rejected := 0, 0
	for _, base := range bases {
		for key, words := range values {
			for _, value := range words {
				data := maps.Clone(base)
				data[key] = value
				parsed, err := settings.Parse(data)
				if err == nil {
					err = backends.Check(parsed)
				}
				shown := settingsRefusal(t, p, data)
				if (shown == "") != (err == nil) {
					t.Errorf("%v: the policy says %q, the add-on says %v", data, shown, err)
				}
				if err == nil {
					accepted++
				} else {
					rejected++
				}
			}
		}
	}
	if accepted < 100 || rejected < 100 {
		t.Errorf("%d accepted and %d rejected: one of them is hardly tried", accepted, rejected)
	}
}

// A refusal names the key, what was expected and what was found.
func TestSettingsPolicyIsClear(t *testing.T) {
	p := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, testOptions()), SettingsGuard)
	for want, data := range map[string]map[string]string{
		"key signing-enforcement: expected one of audit, enforce, got 'banana'": {
			settings.KeyEnforcement: "banana",
		},
		"key signing-enforcment is not known to this version of tekton-sign: remove it": {
			"signing-enforcment": "enforce",
		},
		"key oidc-token-expiration-seconds: '60' is not valid: expected 600 to 3600 seconds": {
			settings.KeyTokenSeconds: "60",
		},
		"key namespaces: 'Ci' is not valid": {
			settings.KeyNamespaces: "Ci",
		},
		"expected one of the keys namespaces and namespace-selector, got both": {
			settings.KeyNamespaces: "ci", settings.KeyNamespaceSelector: "a=b",
		},
		"backend oidc-sa-token needs policies standard or strict": {
			settings.KeyBackend: "oidc-sa-token", settings.KeyPolicies: "none",
		},
		"expected signing-format v2, or minimum-format v1": {
			settings.KeyFormat: "v1", settings.KeyEnforcement: "enforce",
		},
		"expected minimum-format v1, or spire-signer add-on": {
			settings.KeyBackend: "spire", settings.KeySPIRESigner: "tekton", settings.KeyMinimumFormat: "v2",
		},
		"key enforce-nonfalsifiability: expected one of none, oidc-sa-token, spire, receipt, got 'sigstore-keyless'": {
			settings.KeyBackend: "sigstore-keyless",
		},
		"signing-enforcement and enforce-nonfalsifiability-mode: expected the same value: remove": {
			settings.KeyEnforcement: "audit", settings.KeyEnforcementAlias: "enforce",
		},
	} {
		if got := settingsRefusal(t, p, data); !strings.Contains(got, want) {
			t.Errorf("%v: got %q, want %q", data, got, want)
		}
	}
}
