// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// WebhookSelectors returns the namespaces for which each webhook is called, by the name of the webhook. The plugin
// installs them, and the add-on writes them when the settings change.
func WebhookSelectors(s settings.Settings, tektonNamespace string) map[string]*metav1.LabelSelector {
	reserved := settings.Reserved(tektonNamespace)
	return map[string]*metav1.LabelSelector{
		ChainsHold:    s.GateSelector(reserved),
		Consumers:     s.EnforcementSelector(settings.Enforce, reserved),
		ChainsAudit:   s.GateSelectorIn(settings.Audit, reserved),
		ChainsEnforce: s.GateSelectorIn(settings.Enforce, reserved),
		InjectAudit:   s.EnforcementSelector(settings.Audit, reserved),
		InjectEnforce: s.EnforcementSelector(settings.Enforce, reserved),
		StatusAudit:   s.EnforcementSelector(settings.Audit, reserved),
		StatusEnforce: s.EnforcementSelector(settings.Enforce, reserved),
	}
}

// BindingSelectors returns the namespaces in which each policy that depends on the settings applies, by the name of
// its binding.
func BindingSelectors(s settings.Settings, tektonNamespace string) map[string]*metav1.LabelSelector {
	reserved := settings.Reserved(tektonNamespace)
	return map[string]*metav1.LabelSelector{
		PodTokens:        s.Scope.LabelSelector(reserved),
		TaskRunPodMarks:  s.Scope.LabelSelector(reserved),
		TaskRunPods:      s.StrictSelector(reserved),
		TaskRunPodAccess: s.StrictSelector(reserved),
		TaskRunStatus:    s.StrictSelector(reserved),
		PipelineChildren: s.StrictSelector(reserved),
		PipelineStatus:   s.StrictSelector(reserved),
		ManagedBy:        s.EnforcementSelector(settings.Enforce, reserved),
		ChainsGate:       s.GateSelector(reserved),
	}
}

func (o Options) setBinding(b *admissionv1.ValidatingAdmissionPolicyBinding) {
	if selector := BindingSelectors(o.Settings, o.TektonNamespace)[b.Name]; selector != nil {
		b.Spec.MatchResources.NamespaceSelector = selector
	}
	if b.Name == SettingsGuard {
		b.Spec.MatchResources.NamespaceSelector = &metav1.LabelSelector{
			MatchLabels: map[string]string{corev1.LabelMetadataName: o.TektonNamespace},
		}
	}
}

func (o Options) setWebhooks(c *admissionv1.MutatingWebhookConfiguration) error {
	selectors := WebhookSelectors(o.Settings, o.TektonNamespace)
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		if w.NamespaceSelector = selectors[w.Name]; w.NamespaceSelector == nil {
			return fmt.Errorf("manifest of the webhooks: %s has a webhook %s, "+
				"of which it is not known which namespaces it is for", c.Name, w.Name)
		}
	}
	return nil
}
