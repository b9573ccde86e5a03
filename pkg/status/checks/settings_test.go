// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

func TestSettings(t *testing.T) {
	testAmiss(t, checkSettings, map[string]amissCase{
		"the settings hold nonsense": {
			edited(settings.ConfigMapName, func(c settingsMap) { c.Data["delivery"] = "pigeon" }), status.Broken,
			[]string{"fail settings ConfigMap openshift-pipelines/config-signing",
				`key delivery: expected one of auto, image, init, got "pigeon"`,
				"unknown objects: how the objects should be cannot be told"},
		},
		"the settings are gone": {
			dropped[settingsMap](settings.ConfigMapName), status.Broken,
			[]string{"fail settings", "is missing, although the add-on is installed",
				"unknown objects: how the objects should be cannot be told"},
		},
	})
}

func TestPolicies(t *testing.T) {
	testAmiss(t, checkPolicies, map[string]amissCase{
		"the policies are weak for what is enforced": {
			func(in *installed) {
				in.objects = newInstalled(in.t, func(s *settings.Settings) {
					s.Scope.Names, s.Policies = []string{"ci", "release"}, settings.PoliciesStandard
				}).objects
			}, status.Warnings, []string{"warn policies", "expected strict, got standard"},
		},
	})
}

func TestNamespaces(t *testing.T) {
	testAmiss(t, CheckNamespaces, map[string]amissCase{
		"the settings name a namespace that does not exist": {
			func(in *installed) {
				in.objects = newInstalled(in.t, func(s *settings.Settings) {
					s.Scope.Names = []string{"ci", "gone", "release"}
				}).objects
			}, status.Warnings, []string{"warn namespaces", "do not exist: gone"},
		},
		"a label is no mode": {
			func(in *installed) {
				get[*corev1.Namespace](in, "ci").Labels[settings.LabelEnforcement] = "never"
			}, status.Warnings,
			[]string{"warn enforcement-labels", "expected audit or enforce, got ci=never"},
		},
	})
}
