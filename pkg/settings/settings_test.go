// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func TestParse(t *testing.T) {
	full := Settings{
		Backend:       signing.BackendOIDCSAToken,
		Enforcement:   Enforce,
		Policies:      PoliciesStandard,
		KeepMaterial:  true,
		GateChains:    true,
		Delivery:      DeliveryInit,
		Format:        signing.FormatV1,
		MinimumFormat: signing.FormatV1,
		Binding:       signing.BindingAudience,
		Tokens:        signing.Tokens{Audience: "our-results", Lifetime: time.Hour},
		SPIRE:         defaultSPIRE(),
		Scope:         Scope{Names: []string{"a", "b"}},
		Exempt:        []Account{{Namespace: "a", Name: "vault.agent"}, {Namespace: "b", Name: "x"}},
		PullSecrets:   []string{"mirror", "other.one"},
	}
	bySelector := Default()
	bySelector.Scope.Selector = "team in (a,b),signed=yes"

	enforced := Default()
	enforced.Enforcement = Enforce
	keyBound, legacy := Default(), Default()
	keyBound.Binding = signing.BindingKey
	legacy.Format, legacy.Binding = signing.FormatV1, signing.BindingKey

	for name, tc := range map[string]struct {
		data map[string]string
		want Settings
		err  string
	}{
		"nothing":  {data: nil, want: Default()},
		"example":  {data: map[string]string{"_example": "anything: at all"}, want: Default()},
		"selector": {data: map[string]string{KeyNamespaceSelector: "team in (a,b),signed=yes"}, want: bySelector},
		"everything": {data: map[string]string{
			KeyBackend: "oidc-sa-token", KeyEnforcement: "enforce", KeyDelivery: "init", KeyAudience: "our-results",
			KeyFormat: "v1", KeyBinding: "audience", KeyTokenSeconds: "3600",
			KeyNamespaces: "b, a,b", KeyExemptAccounts: "a/vault.agent,b/x",
			KeyPolicies: "standard", KeyKeepMaterial: "true", KeyGateChains: "true", KeyMinimumFormat: "v1",
			KeyPullSecrets: "mirror, other.one",
		}, want: full},
		"alias": {data: map[string]string{KeyEnforcementAlias: "enforce"}, want: enforced},
		"alias beside the same value": {
			data: map[string]string{KeyEnforcementAlias: "enforce", KeyEnforcement: "enforce"}, want: enforced,
		},
		"alias beside another value": {
			data: map[string]string{KeyEnforcementAlias: "audit", KeyEnforcement: "enforce"},
			err:  `expected the same value, got "enforce" and "audit": remove enforce-nonfalsifiability-mode`,
		},

		"v1 by default with a key": {data: map[string]string{KeyFormat: "v1"}, want: legacy},
		"v1 with a key":            {data: map[string]string{KeyFormat: "v1", KeyBinding: "key"}, want: legacy},
		"key":                      {data: map[string]string{KeyBinding: "key"}, want: keyBound},
		"defaults spelt out": {data: map[string]string{
			KeyFormat: "v2", KeyBinding: "payload", KeyAudience: "tekton-result-signing", KeyTokenSeconds: "600",
		}, want: Default()},

		"v1 without a key": {
			data: map[string]string{KeyFormat: "v1", KeyBinding: "payload"},
			err: "keys signing-format and oidc-binding: format v1 signs each result with a key, which binding payload " +
				"does not have: use binding key or audience, or format v2",
		},
		"unknown format": {
			data: map[string]string{KeyFormat: "2"}, err: `key signing-format: unknown format "2": expected one of v1, v2`,
		},
		"unknown binding": {
			data: map[string]string{KeyBinding: "pod"},
			err:  `oidc-binding: unknown binding "pod": expected one of payload, key, audience`,
		},
		"short token": {
			data: map[string]string{KeyTokenSeconds: "599"},
			err:  "oidc-token-expiration-seconds: expected 600 to 3600 whole seconds, got 9m59s",
		},
		"long token": {
			data: map[string]string{KeyTokenSeconds: "3601"}, err: "expected 600 to 3600 whole seconds, got 1h0m1s",
		},
		"seconds with a unit": {
			data: map[string]string{KeyTokenSeconds: "600s"}, err: `expected a number of seconds, got "600s"`,
		},
		"seconds with a zero": {
			data: map[string]string{KeyTokenSeconds: "0600"}, err: `expected a number of seconds, got "0600"`,
		},
		"old key": {data: map[string]string{"audience": "x"}, err: "audience: unknown key"},
		"unknown key": {
			data: map[string]string{"signing-enforcment": "audit"}, err: "signing-enforcment: unknown key",
		},
		"unknown backend": {data: map[string]string{KeyBackend: "vault"}, err: `unknown backend "vault"`},
		"case matters":    {data: map[string]string{KeyBackend: "NONE"}, err: `unknown backend "NONE"`},
		"unknown enforcement": {
			data: map[string]string{KeyEnforcement: "warn"}, err: `expected one of audit, enforce, got "warn"`,
		},
		"unknown alias": {
			data: map[string]string{KeyEnforcementAlias: "warn"}, err: `enforce-nonfalsifiability-mode: expected one of`,
		},
		"enforced v1": {data: map[string]string{KeyEnforcement: "enforce", KeyFormat: "v1"},
			err: "steps would sign in format v1 and be refused, because at least v2 is wanted"},
		"Tekton's signer, enforced": {
			data: map[string]string{KeyBackend: "spire", KeySPIRESigner: "tekton", KeyEnforcement: "enforce"},
			err:  "keys spire-signer and minimum-format: Tekton's own signer signs in format v1 and would be refused",
		},
		"Tekton's signer below the minimum": {
			data: map[string]string{KeyBackend: "spire", KeySPIRESigner: "tekton", KeyMinimumFormat: "v2"},
			err:  "set minimum-format to v1 (enable --minimum-format v1), or let the add-on sign",
		},
		"unknown signer": {
			data: map[string]string{KeySPIRESigner: "none"}, err: `spire-signer: expected one of add-on, tekton, got "none"`,
		},
		"minimum above format": {
			data: map[string]string{KeyMinimumFormat: "v2", KeyFormat: "v1"}, err: "at least v2 is wanted",
		},
		"unknown minimum": {data: map[string]string{KeyMinimumFormat: "v3"}, err: `minimum-format: unknown format "v3"`},
		"unknown policies": {
			data: map[string]string{KeyPolicies: ""}, err: `policies: expected one of none, standard, strict, got ""`,
		},
		"no boolean": {
			data: map[string]string{KeyKeepMaterial: "yes"}, err: `keep-material: expected one of true, false, got "yes"`,
		},
		"no boolean gate": {
			data: map[string]string{KeyGateChains: "1"}, err: `gate-chains: expected one of true, false, got "1"`,
		},
		"unknown delivery": {data: map[string]string{KeyDelivery: ""}, err: `expected one of auto, image, init, got ""`},
		"hostile audience": {
			data: map[string]string{KeyAudience: "a') || true || ('"}, err: "expected lower case letters",
		},
		"empty audience": {data: map[string]string{KeyAudience: ""}, err: "expected lower case letters"},
		"empty names":    {data: map[string]string{KeyNamespaces: ""}, err: `"" is not the name of a namespace`},
		"hostile name":   {data: map[string]string{KeyNamespaces: "a,B"}, err: `"B" is not the name of a namespace`},
		"empty selector": {data: map[string]string{KeyNamespaceSelector: " "}, err: "empty one"},
		"bad selector":   {data: map[string]string{KeyNamespaceSelector: "a in"}, err: "is not a label selector"},
		"both scopes": {
			data: map[string]string{KeyNamespaces: "a", KeyNamespaceSelector: "a=b"}, err: "expected one of",
		},
		"bad account": {data: map[string]string{KeyExemptAccounts: "ci/x,default"}, err: `got "default"`},
		"too many names": {
			data: map[string]string{KeyNamespaces: strings.Repeat("a,", maxNames) + "a"}, err: "at most 1000 namespaces",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.data)
			checkError(t, err, tc.err)
			if diff := cmp.Diff(tc.want, got); tc.err == "" && diff != "" {
				t.Errorf("Parse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDataRoundTrip(t *testing.T) {
	for name, s := range map[string]Settings{
		"default": Default(),
		"names": {
			Backend: signing.BackendOIDCSAToken, Enforcement: Audit, Delivery: DeliveryImage,
			Format: signing.FormatV2, Binding: signing.BindingAudience, SPIRE: defaultSPIRE(),
			Tokens: signing.Tokens{Audience: "x", Lifetime: 20 * time.Minute},
			Scope:  Scope{Names: []string{"a", "b"}}, Exempt: []Account{{"a", "b"}},
		},
		"selector": {
			Backend: signing.BackendNone, Enforcement: Enforce, Delivery: DeliveryAuto,
			Format: signing.FormatV1, MinimumFormat: signing.FormatV1, Binding: signing.BindingKey,
			SPIRE:  defaultSPIRE(),
			Tokens: signing.DefaultTokens(), Scope: Scope{Selector: "a=b,c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(s.Data())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s, got); diff != "" {
				t.Errorf("Parse(Data()) (-want +got):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(map[string]string{KeyBackend: "none", KeyEnforcement: "audit"}, Default().Data()); diff != "" {
		t.Errorf("Default().Data() (-want +got):\n%s", diff)
	}
}

// scopeOf returns the scope of the flags of enable.
func scopeOf(names []string, selector string) (Scope, error) {
	s, err := FromFlags(signing.BackendOIDCSAToken, func(f Field) (string, bool) {
		switch f.Key {
		case KeyNamespaces:
			return strings.Join(names, ","), len(names) > 0
		case KeyNamespaceSelector:
			return selector, selector != ""
		}
		return "", false
	})
	return s.Scope, err
}

func TestScope(t *testing.T) {
	reserved := Reserved("openshift-pipelines")
	namespace := func(name string, labels ...string) map[string]string {
		l := map[string]string{"kubernetes.io/metadata.name": name}
		for i := 0; i < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		return l
	}
	for name, tc := range map[string]struct {
		names    []string
		selector string
		labels   map[string]string
		want     bool
	}{
		"all":                   {labels: namespace("ci"), want: true},
		"all but system":        {labels: namespace("kube-system")},
		"all but public":        {labels: namespace("kube-public")},
		"all but node leases":   {labels: namespace("kube-node-lease")},
		"all but ours":          {labels: namespace("tekton-sign")},
		"all but Tekton's":      {labels: namespace("openshift-pipelines")},
		"all but the resolvers": {labels: namespace("openshift-pipelines-resolvers")},
		"stock name elsewhere":  {labels: namespace("tekton-pipelines"), want: true},
		"named":                 {names: []string{"ci", "cd"}, labels: namespace("cd"), want: true},
		"not named":             {names: []string{"ci", "cd"}, labels: namespace("other")},
		"named though reserved": {names: []string{"kube-system"}, labels: namespace("kube-system")},
		"labelled":              {selector: "sign=yes", labels: namespace("ci", "sign", "yes"), want: true},
		"labelled otherwise":    {selector: "sign=yes", labels: namespace("ci", "sign", "no")},
		"reserved and labelled": {selector: "sign=yes", labels: namespace("tekton-sign", "sign", "yes")},
		"name label is missing": {names: []string{"ci"}, labels: map[string]string{"a": "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			scope, err := scopeOf(tc.names, tc.selector)
			if err != nil {
				t.Fatal(err)
			}
			if got := scope.Matcher(reserved)(tc.labels); got != tc.want {
				t.Errorf("%s matches %v: got %v, want %v", scope, tc.labels, got, tc.want)
			}
		})
	}
	broken := Scope{Selector: "a in"}
	if _, err := scopeOf([]string{"a"}, "b=c"); err == nil {
		t.Error("the flags took both names and a selector")
	}
	if _, err := scopeOf(nil, broken.Selector); err == nil {
		t.Error("the flags took a broken selector")
	}
	if broken.Matcher(reserved)(namespace("ci")) {
		t.Error("a broken scope matches")
	}
	checkError(t, Scope{Names: []string{"a", "kube-public"}}.CheckReserved(reserved), "namespace kube-public is reserved")
	checkError(t, Scope{Names: []string{"a"}}.CheckReserved(reserved), "")
}

func TestAccount(t *testing.T) {
	a, err := ParseAccount("ci/builder")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.Username(), "system:serviceaccount:ci:builder"; got != want {
		t.Errorf("Username: got %q, want %q", got, want)
	}
	for _, bad := range []string{"", "ci", "/", "ci/", "ci/a'b", "c i/a", "a/b/c"} {
		if got, err := ParseAccount(bad); err == nil {
			t.Errorf("ParseAccount(%q) = %v, want an error", bad, got)
		}
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Fatalf("got no error, want one with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Fatalf("got error %q, want one with %q", err, want)
	}
}

// TestReadEach checks that an invalid key does not affect valid ones, and has no effect itself.
func TestReadEach(t *testing.T) {
	got, bad := ReadEach(map[string]string{
		KeyEnforcement: "enforce", KeyPolicies: "strong", KeyMinimumFormat: "v2", KeyTokenSeconds: "soon",
		KeyNamespaces: "ci", KeyNamespaceSelector: "a=b",
		"of-the-future": "x", KeyExemptAccounts: "ci/vault,nonsense",
	})
	want := Default()
	want.Enforcement, want.MinimumFormat, want.Scope = Enforce, "v2", Scope{Names: []string{"ci"}, Selector: "a=b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	wantBad := slices.Sorted(slices.Values([]string{KeyExemptAccounts, KeyTokenSeconds, "of-the-future", KeyPolicies}))
	if diff := cmp.Diff(wantBad, slices.Sorted(maps.Keys(bad))); diff != "" {
		t.Errorf("bad keys (-want +got):\n%s", diff)
	}
}
