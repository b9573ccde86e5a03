// SPDX-License-Identifier: Apache-2.0

package object

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// IsWebhooks reports whether an object is a webhook configuration.
func IsWebhooks(u *unstructured.Unstructured) bool {
	return u.GetKind() == "MutatingWebhookConfiguration"
}

// Webhooks returns the webhooks of a configuration. Changes of them are changes of the configuration.
func Webhooks(configuration *unstructured.Unstructured) []map[string]any {
	list, _ := configuration.Object["webhooks"].([]any)
	var webhooks []map[string]any
	for _, item := range list {
		if webhook, ok := item.(map[string]any); ok {
			webhooks = append(webhooks, webhook)
		}
	}
	return webhooks
}

// Authority returns the certificate authority that the add-on has written into a configuration, empty if it has not
// yet. It is the same for all webhooks, and the add-on corrects it.
func Authority(configuration *unstructured.Unstructured) string {
	for _, webhook := range Webhooks(configuration) {
		if authority, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle"); authority != "" {
			return authority
		}
	}
	return ""
}

// SetAuthority writes a certificate authority into every webhook of a configuration, unless it is empty.
func SetAuthority(configuration *unstructured.Unstructured, authority string) {
	for _, webhook := range Webhooks(configuration) {
		if client, ok := webhook["clientConfig"].(map[string]any); ok && authority != "" {
			client["caBundle"] = authority
		}
	}
}
