// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// namespaced returns a namespace with these labels.
func namespaced(l labels.Set) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ci", Labels: l}}
}

func TestEnforcementPolicy(t *testing.T) {
	mode := func(value string) *corev1.Namespace { return namespaced(labels.Set{settings.LabelEnforcement: value}) }
	none := namespaced(nil)
	update := func(old, object *corev1.Namespace) asked {
		return asked{user: "jane", operation: "UPDATE", old: old, object: object}
	}
	create := func(object *corev1.Namespace) asked { return asked{user: "jane", operation: "CREATE", object: object} }
	entitled := func(a asked) asked { a.mayChangeSettings = true; return a }
	const who = "jane may not set, change or remove label tekton-sign.dev/enforcement of namespace ci: only who may " +
		"update ConfigMap config-signing in namespace openshift-pipelines may"
	checkRefusals(t, EnforcementGuard, map[string]struct {
		asked asked
		shown string
	}{
		"removed":             {update(mode("enforce"), none), who},
		"weakened":            {update(mode("enforce"), mode("audit")), who},
		"set":                 {update(none, mode("audit")), who},
		"strengthened":        {update(none, mode("enforce")), who},
		"made so":             {create(mode("audit")), who},
		"by who may":          {entitled(update(mode("enforce"), mode("audit"))), ""},
		"removed by who may":  {entitled(update(mode("enforce"), none)), ""},
		"made so by who may":  {entitled(create(mode("enforce"))), ""},
		"nonsense by who may": {entitled(update(none, mode("off"))), "expected audit or enforce, got off"},
		"empty by who may":    {entitled(update(none, mode(""))), "expected audit or enforce"},
		"nonsense stays":      {update(mode("off"), mode("off")), ""},
		"other labels": {
			update(mode("enforce"), namespaced(labels.Set{settings.LabelEnforcement: "enforce", "a": "b"})), "",
		},
		"made without":         {create(none), ""},
		"no labels, no change": {update(none, none), ""},
	})
}

// Where labels choose the namespaces in scope, the policy decides in the same way as the selector.
func TestEnforcementPolicyGuardsTheScope(t *testing.T) {
	sets := []labels.Set{
		nil, {"a": "1"}, {"a": "2"}, {"a": "3"}, {"a": ""}, {"b": "x"},
		{"a": "1", "b": "x"}, {"a": "2", "b": ""}, {"example.com/c": "y"},
	}
	refused := 0
	for _, selector := range []string{
		"a", "!a", "a=1", "a in (1,2)", "a notin (1,2)", "a=1,b", "a,!b", "a in (1,2),b notin (x)", "example.com/c=y", "a=",
		"!example.com/c,a notin (3)",
	} {
		o := testOptions()
		chosen, err := settings.Parse(map[string]string{settings.KeyNamespaceSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		o.Settings.Scope = chosen.Scope
		p := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, o), EnforcementGuard)
		want, err := labels.Parse(selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, old := range sets {
			for _, changed := range sets {
				a := asked{user: "jane", operation: "UPDATE", old: namespaced(old), object: namespaced(changed)}
				_, shown := refusal(t, p, a.values(t))
				leaves := want.Matches(old) && !want.Matches(changed)
				if leaves != strings.Contains(shown, "jane may not take namespace ci out of signing") {
					t.Errorf("selector %s, labels %v -> %v: got %q, want it refused: %v", selector, old, changed, shown, leaves)
				}
				if !leaves {
					continue
				}
				refused++
				a.mayChangeSettings = true
				if _, shown := refusal(t, p, a.values(t)); shown != "" {
					t.Errorf("selector %s, labels %v -> %v by who may: got %q", selector, old, changed, shown)
				}
			}
			a := asked{user: "jane", operation: "CREATE", object: namespaced(old)}
			if _, shown := refusal(t, p, a.values(t)); shown != "" {
				t.Errorf("selector %s, a new namespace with labels %v: got %q", selector, old, shown)
			}
		}
	}
	if refused == 0 {
		t.Error("no case leaves the scope")
	}
}
