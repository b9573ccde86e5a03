// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

func TestObjects(t *testing.T) {
	testAmiss(t, checkObjects, map[string]amissCase{
		"a policy is missing": {
			dropped[policy](manifests.SigningTokens), status.Broken,
			[]string{"fail objects ValidatingAdmissionPolicy " + manifests.SigningTokens + ": is missing"},
		},
		"a policy has one condition more": {
			edited(manifests.SigningTokens, func(p policy) {
				p.Spec.MatchConditions = append(p.Spec.MatchConditions,
					admissionv1.MatchCondition{Name: "never", Expression: "false"})
			}), status.Broken, []string{"spec.matchConditions[never]: expected (absent), got", `"expression":"false"`},
		},
		"a policy's rule is weaker": {
			edited(manifests.SigningTokens, func(p policy) { p.Spec.Validations[0].Expression = "true" }), status.Broken,
			[]string{"spec.validations[0].expression: expected object.spec.audiences.size() == 1, got true"},
		},
		"a policy is ignored on errors": {
			edited(manifests.TokenRequesters, func(p policy) { p.Spec.FailurePolicy = new(admissionv1.Ignore) }), status.Broken,
			[]string{"spec.failurePolicy: expected Fail, got Ignore"},
		},
		"a binding warns only": {
			edited(manifests.SigningTokens, func(b binding) {
				b.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
			}), status.Broken,
			[]string{"ValidatingAdmissionPolicyBinding", `spec.validationActions: expected ["Deny","Audit"], got ["Warn"]`},
		},
		"a binding got a selector": {
			edited(manifests.SigningTokens, func(b binding) {
				selector := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
				b.Spec.MatchResources = &admissionv1.MatchResources{ObjectSelector: selector}
			}), status.Broken, []string{"spec.matchResources: expected (absent), got"},
		},
		"a webhook is ignored on errors": {
			edited(manifests.StatusWebhook, func(w webhooks) { w.Webhooks[1].FailurePolicy = new(admissionv1.Ignore) }),
			status.Broken,
			[]string{"MutatingWebhookConfiguration tekton-sign-status",
				"webhooks[status-enforce.tekton-sign.dev].failurePolicy: expected Fail, got Ignore"},
		},
		"a webhook is for other namespaces": {
			edited(manifests.InjectWebhook, func(w webhooks) { w.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{} }),
			status.Broken,
			[]string{"webhooks[inject-audit.tekton-sign.dev].namespaceSelector.matchExpressions: expected", "got (absent)"},
		},
		"a webhook goes elsewhere": {
			edited(manifests.StatusWebhook, func(w webhooks) { w.Webhooks[0].ClientConfig.Service.Name = "other" }),
			status.Broken,
			[]string{"clientConfig.service.name: expected tekton-sign-controller, got other"},
		},
		"a webhook is missing in its configuration": {
			edited(manifests.StatusWebhook, func(w webhooks) { w.Webhooks = w.Webhooks[:1] }), status.Broken,
			[]string{"webhooks[status-enforce.tekton-sign.dev]: expected", "got (absent)"},
		},
		"a webhook has no authority": {
			edited(manifests.InjectWebhook, func(w webhooks) { w.Webhooks[1].ClientConfig.CABundle = nil }), status.Broken,
			[]string{"clientConfig.caBundle", "got none in inject-enforce.tekton-sign.dev"},
		},
		"the webhooks are missing": {
			dropped[webhooks](manifests.InjectWebhook), status.Broken,
			[]string{"MutatingWebhookConfiguration tekton-sign-inject: is missing"},
		},
		"a role gives less": {
			edited(manifests.TokenRequester, func(r *rbacv1.ClusterRole) { r.Rules = nil }), status.Broken,
			[]string{"ClusterRole tekton-sign-token-requester: was changed; rules: expected", "serviceaccounts/token",
				"got (absent)"},
		},
		"a role gives more": {
			edited(manifests.TokenRequester, func(r *rbacv1.ClusterRole) { r.Rules[0].Verbs = []string{"*"} }), status.Broken,
			[]string{`rules[0].verbs[0]: expected create, got *`},
		},
		"a role is bound to others": {
			edited(manifests.Controller, func(b *rbacv1.ClusterRoleBinding) {
				b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "Group", Name: "system:authenticated"})
			}), status.Broken, []string{"ClusterRoleBinding tekton-sign-controller",
				`subjects[system:authenticated]: expected (absent)`},
		},
		"the service selects others": {
			edited(manifests.Controller, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "other"} }),
			status.Broken,
			[]string{"Service tekton-sign/tekton-sign-controller",
				"spec.selector.app.kubernetes.io/name: expected controller, got (absent)"},
		},
		"the disruption budget is missing": {
			dropped[*policyv1.PodDisruptionBudget](manifests.Controller), status.Broken,
			[]string{"PodDisruptionBudget tekton-sign/tekton-sign-controller: is missing"},
		},
		"the disruption budget was tuned": {
			edited(manifests.Controller, func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable.IntVal = 2 }),
			status.Warnings,
			[]string{"warn objects PodDisruptionBudget", "spec.minAvailable: expected 1, got 2"},
		},
		"the add-on runs another program": {
			edited(manifests.Controller, func(d deployment) { d.Spec.Template.Spec.Containers[0].Command = []string{"/other"} }),
			status.Broken,
			[]string{"spec.template.spec.containers[controller].command[0]: expected /ko-app/controller, got /other"},
		},
		"the add-on has a container more": {
			edited(manifests.Controller, func(d deployment) {
				d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "evil"}}
			}), status.Broken, []string{"spec.template.spec.initContainers: expected (absent), got", "evil"},
		},
		"the add-on has other resources": {
			edited(manifests.Controller, func(d deployment) {
				d.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
			}), status.Warnings,
			[]string{"warn objects Deployment", "containers[controller].resources.limits.memory: expected 256Mi, got (absent)"},
		},
		"the keeper is not there": {
			dropped[deployment](manifests.Keeper), status.Broken,
			[]string{"fail objects Deployment tekton-sign/tekton-sign-keeper: is missing"},
		},
	})
}
