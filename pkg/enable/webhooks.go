// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// isReplaced reports whether an object is a policy, the binding of a policy, or a webhook configuration. These are
// replaced as a whole: a server-side apply would keep what somebody else has added, and an additional condition can
// switch any of them off.
func isReplaced(u *unstructured.Unstructured) bool {
	return strings.HasPrefix(u.GetKind(), "ValidatingAdmissionPolicy") || object.IsWebhooks(u)
}

// replacing returns live with the labels and the whole content of wanted.
func replacing(live, wanted *unstructured.Unstructured) *unstructured.Unstructured {
	replaced, source := live.DeepCopy(), wanted.DeepCopy()
	replaced.SetLabels(wanted.GetLabels())
	for _, field := range []string{"spec", "webhooks"} {
		if content, ok := source.Object[field]; ok {
			replaced.Object[field] = content
		}
	}
	if object.IsWebhooks(wanted) {
		object.SetAuthority(replaced, object.Authority(live))
	}
	return replaced
}

// uncalled returns the object that is created. A webhook configuration is created without namespaces. The add-on adds
// the namespaces together with its certificate authority; until then a webhook that must not fail would stop every
// pod and every TaskRun in them.
func uncalled(u *unstructured.Unstructured) *unstructured.Unstructured {
	if !object.IsWebhooks(u) {
		return u
	}
	created := u.DeepCopy()
	for _, webhook := range object.Webhooks(created) {
		// The API server gives every namespace this label.
		webhook["namespaceSelector"] = map[string]any{"matchExpressions": []any{
			map[string]any{"key": corev1.LabelMetadataName, "operator": string(metav1.LabelSelectorOpDoesNotExist)},
		}}
	}
	return created
}
