// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

func isWebhooks(u *unstructured.Unstructured) bool {
	return u.GetKind() == "MutatingWebhookConfiguration"
}

// uncalled returns what is to be created of object: of a webhook configuration one that selects no namespace. The add-on
// writes the namespaces together with its certificate authority; until then a webhook that must not fail would stop every
// pod and every TaskRun that it is for.
func uncalled(object *unstructured.Unstructured) *unstructured.Unstructured {
	if !isWebhooks(object) {
		return object
	}
	created := object.DeepCopy()
	for _, webhook := range webhooksOf(created) {
		// The API server gives every namespace this label.
		webhook["namespaceSelector"] = map[string]any{"matchExpressions": []any{
			map[string]any{"key": corev1.LabelMetadataName, "operator": string(metav1.LabelSelectorOpDoesNotExist)},
		}}
	}
	return created
}

// webhooksOf returns the webhooks of a configuration. What is changed in them is changed in the configuration.
func webhooksOf(configuration *unstructured.Unstructured) []map[string]any {
	list, _ := configuration.Object["webhooks"].([]any)
	var webhooks []map[string]any
	for _, item := range list {
		if webhook, ok := item.(map[string]any); ok {
			webhooks = append(webhooks, webhook)
		}
	}
	return webhooks
}

// authorityOf returns the certificate authority that the add-on wrote into a configuration, empty before it did. It is the
// same for all webhooks, and the add-on puts it right.
func authorityOf(configuration *unstructured.Unstructured) string {
	for _, webhook := range webhooksOf(configuration) {
		if authority, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle"); authority != "" {
			return authority
		}
	}
	return ""
}

func setAuthority(configuration *unstructured.Unstructured, authority string) {
	for _, webhook := range webhooksOf(configuration) {
		if client, ok := webhook["clientConfig"].(map[string]any); ok && authority != "" {
			client["caBundle"] = authority
		}
	}
}

// makeWebhooks carries out the change of a webhook configuration. The add-on is another writer of it, and answers new settings with
// new namespaces at the same time: an update is made on top of what is there.
func (c Clients) makeWebhooks(ctx context.Context, change Change, progress Progress) error {
	for planned := change.Object; ; {
		err := c.make(ctx, change, false, progress)
		if change.Action != Update || !apierrors.IsConflict(err) || ctx.Err() != nil {
			return err
		}
		live, err := resourceOf(c.Dynamic, planned).Get(ctx, planned.GetName(), metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading %s: %w", describe(planned), err)
		}
		change.Object = replacing(live, planned)
	}
}

// webhooksServed looks whether the add-on has written its certificate authority and the namespaces of the settings into the
// webhook configurations.
func (p Plan) webhooksServed(c Clients) func(context.Context) (bool, string, error) {
	selectors := manifests.WebhookSelectors(p.Settings, p.Environment.TektonNamespace)
	return func(ctx context.Context) (bool, string, error) {
		for _, name := range manifests.WebhookConfigurationsOf(p.Settings.Backend) {
			wh, err := c.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, "", fmt.Errorf("reading MutatingWebhookConfiguration %s: %w", name, err)
			}
			for _, w := range wh.Webhooks {
				if len(w.ClientConfig.CABundle) == 0 {
					return false, name + " has no certificate authority", nil
				}
				if !equality.Semantic.DeepEqual(w.NamespaceSelector, selectors[w.Name]) {
					return false, w.Name + " is not for the namespaces of the settings", nil
				}
			}
		}
		return true, "", nil
	}
}
