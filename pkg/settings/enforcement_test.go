// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestEnforcement compares, for every mode and label, what the add-on decides with what the selectors of the
// webhooks select: each namespace in scope is in exactly one of the two.
func TestEnforcement(t *testing.T) {
	reserved := Reserved("tekton-pipelines")
	for name, tc := range map[string]struct {
		global Enforcement
		label  string // "-" for none
		want   Enforcement
	}{
		"audit":                         {Audit, "-", Audit},
		"audit, labelled audit":         {Audit, "audit", Audit},
		"audit, labelled enforce":       {Audit, "enforce", Enforce},
		"audit, labelled with nonsense": {Audit, "Enforce", Audit},
		"enforce":                       {Enforce, "-", Enforce},
		"enforce, labelled audit":       {Enforce, "audit", Audit},
		"enforce, labelled enforce":     {Enforce, "enforce", Enforce},
		"enforce, with nonsense":        {Enforce, "", Enforce},
	} {
		t.Run(name, func(t *testing.T) {
			s := Default()
			s.Enforcement = tc.global
			l := map[string]string{"kubernetes.io/metadata.name": "ci"}
			if tc.label != "-" {
				l[LabelEnforcement] = tc.label
			}
			if got := s.EnforcementOf(l); got != tc.want {
				t.Errorf("EnforcementOf: got %s, want %s", got, tc.want)
			}
			for _, mode := range []Enforcement{Audit, Enforce} {
				if got := selects(t, s.EnforcementSelector(mode, reserved), l); got != (mode == tc.want) {
					t.Errorf("the selector of %s: got %v", mode, got)
				}
			}
			for policies, want := range map[Policies]bool{
				PoliciesAuto: tc.want == Enforce, PoliciesStrict: true, PoliciesStandard: false, PoliciesNone: false,
			} {
				s.Policies = policies
				if got := selects(t, s.StrictSelector(reserved), l); got != want {
					t.Errorf("strict policies at level %q: got %v, want %v", policies, got, want)
				}
			}
			l["kubernetes.io/metadata.name"] = "kube-system"
			s.Policies = PoliciesStrict
			for _, selector := range []*metav1.LabelSelector{
				s.EnforcementSelector(Audit, reserved), s.EnforcementSelector(Enforce, reserved), s.StrictSelector(reserved),
			} {
				if selects(t, selector, l) {
					t.Errorf("a reserved namespace is selected by %v", selector)
				}
			}
		})
	}
}

func selects(t *testing.T, selector *metav1.LabelSelector, l map[string]string) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(labels.Set(l))
}
