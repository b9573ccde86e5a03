// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// TestObjects holds every manifest to the rules that the plugin relies on: it finds objects by label, and the
// add-on holds no right that reaches beyond what is named.
func TestObjects(t *testing.T) {
	objects, err := Objects()
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) < 20 {
		t.Errorf("expected all of the manifests, got %d objects", len(objects))
	}
	seen, reviews := map[string]bool{}, 0
	for _, o := range objects {
		m, err := meta.Accessor(o)
		if err != nil {
			t.Fatal(err)
		}
		id := o.GetObjectKind().GroupVersionKind().Kind + " " + m.GetNamespace() + "/" + m.GetName()
		if seen[id] {
			t.Errorf("%s appears twice", id)
		}
		seen[id] = true
		if got := m.GetLabels()["app.kubernetes.io/part-of"]; got != "tekton-sign" {
			t.Errorf("%s: label app.kubernetes.io/part-of: expected tekton-sign, got %q", id, got)
		}
		if role, ok := o.(*rbacv1.ClusterRole); ok {
			checkRules(t, id, role.Rules)
			for _, rule := range role.Rules {
				if slices.Contains(rule.APIGroups, "authentication.k8s.io") {
					reviews++
					checkTokenReviews(t, id, rule)
				}
			}
		}
	}
	if reviews != 1 {
		t.Errorf("expected one rule for TokenReviews, got %d", reviews)
	}
}

// checkTokenReviews wants no more than to ask about tokens: not about the rights of others, as
// system:auth-delegator allows.
func checkTokenReviews(t *testing.T, id string, got rbacv1.PolicyRule) {
	t.Helper()
	want := rbacv1.PolicyRule{
		APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: rule for TokenReviews (-want +got):\n%s", id, diff)
	}
}

// checkRules refuses wildcards, and cluster-wide rights over things that hold secrets.
func checkRules(t *testing.T, id string, rules []rbacv1.PolicyRule) {
	t.Helper()
	for _, rule := range rules {
		all := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs)
		if slices.Contains(all, "*") {
			t.Errorf("%s: wildcard in %v", id, rule)
		}
		for _, forbidden := range []string{"secrets", "configmaps", "pods/exec", "serviceaccounts"} {
			if slices.Contains(rule.Resources, forbidden) {
				t.Errorf("%s: cluster-wide right over %s", id, forbidden)
			}
		}
		if slices.Contains(rule.Verbs, "escalate") || slices.Contains(rule.Verbs, "impersonate") {
			t.Errorf("%s: verbs %v", id, rule.Verbs)
		}
		if slices.Contains(rule.Verbs, "bind") && len(rule.ResourceNames) != 1 {
			t.Errorf("%s: bind needs exactly one name, got %v", id, rule.ResourceNames)
		}
	}
}

// TestKustomization makes kubectl apply -k and the plugin install the same files.
func TestKustomization(t *testing.T) {
	content, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k types.Kustomization
	if err := yaml.UnmarshalStrict(content, &k); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Glob("[1-9]*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, k.Resources); diff != "" {
		t.Errorf("resources (-files +kustomization):\n%s", diff)
	}
}
