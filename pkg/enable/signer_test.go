// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestPlanTektonsSigner checks that enable turns nothing on that could not work, and that it never changes Tekton's
// switches.
func TestPlanTektonsSigner(t *testing.T) {
	flags := func(value string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: testEnvironment.TektonNamespace, Name: tekton.FeatureFlags},
			Data:       map[string]string{"enforce-nonfalsifiability": value},
		}
	}
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testEnvironment.TektonNamespace, Name: "config-spire"},
	}
	v2Only := func(s *settings.Settings) { s.MinimumFormat = signing.FormatV2 }
	byTekton := func(s *settings.Settings) { s.SPIRE.Signer = settings.SignerTekton }
	for name, tc := range map[string]struct {
		change             func(*settings.Settings)
		flags, config      *corev1.ConfigMap
		obstacle, warnings string
	}{
		"ours":             {nil, flags("none"), config, "", ""},
		"ours by default":  {nil, nil, config, "", ""},
		"Tekton's":         {byTekton, flags("spire"), config, "", "--minimum-format v1 accepts it"},
		"Tekton's is off":  {byTekton, flags("none"), config, `-p '{"data":{"enforce-nonfalsifiability":"spire"}}'`, "v1"},
		"no flags":         {byTekton, nil, config, "no step signs", "v1"},
		"no config-spire":  {byTekton, flags("spire"), nil, "create the ConfigMap", "v1"},
		"both":             {nil, flags("spire"), config, "", "enable spire --signer tekton"},
		"ours, no config":  {nil, flags("none"), nil, "", "create the ConfigMap"},
		"both, v2 is must": {v2Only, flags("spire"), config, "does not count", ""},
	} {
		c := newFakeCluster(t)
		for _, cm := range []*corev1.ConfigMap{tc.flags, tc.config} {
			if cm == nil {
				continue
			}
			if err := c.kube.Tracker().Add(cm); err != nil {
				t.Fatal(err)
			}
		}
		r := testRequest()
		r.Settings.Backend = signing.BackendSPIRE
		if tc.change != nil {
			tc.change(&r.Settings)
		}
		plan := planEnable(t, c, r)
		obstacles, warnings := strings.Join(plan.Obstacles, "\n"), ""
		for _, w := range plan.Warnings {
			warnings += w.Text + "\n"
		}
		if (obstacles == "") != (tc.obstacle == "") || !strings.Contains(obstacles, tc.obstacle) ||
			(warnings == "") != (tc.warnings == "") || !strings.Contains(warnings, tc.warnings) {
			t.Errorf("%s: obstacles %q, warnings %q", name, obstacles, warnings)
		}
		for _, change := range plan.Changes {
			if change.Object.GetName() == tekton.FeatureFlags {
				t.Errorf("%s: the plan changes Tekton's switches", name)
			}
		}
	}
}

// TestPlanTektonsSignerEnforced names the flag without which every TaskRun would fail.
func TestPlanTektonsSignerEnforced(t *testing.T) {
	r := testRequest()
	r.Settings.Backend, r.Settings.Enforcement = signing.BackendSPIRE, settings.Enforce
	r.Settings.SPIRE.Signer = settings.SignerTekton
	_, err := PlanEnable(t.Context(), newFakeCluster(t).Clients, testEnvironment, r)
	if err == nil || !strings.Contains(err.Error(), "enable --minimum-format v1") {
		t.Errorf("got %v", err)
	}
}
