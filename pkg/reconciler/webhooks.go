// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	admissioninformers "k8s.io/client-go/informers/admissionregistration/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Webhooks makes one webhook configuration callable, and makes it match the settings. It writes the authority of the
// webhooks' certificate, and the namespaces of each webhook. The plugin or kubectl creates the configuration. If it
// is absent, Webhooks does nothing, because an administrator deletes it to stop the webhooks.
type Webhooks struct {
	pkgreconciler.LeaderAwareFuncs

	client          kubernetes.Interface
	secrets         corelisters.SecretLister
	settings        *Settings
	tektonNamespace string
	informer        cache.SharedIndexInformer
	name            string
	authorities     authorities
}

// WebhooksConfig is what NewWebhooks needs.
type WebhooksConfig struct {
	Client          kubernetes.Interface
	Secrets         corelisters.SecretLister
	Settings        *Settings
	TektonNamespace string
	Name            string // of the configuration
	Now             func() time.Time
}

// NewWebhooks returns the reconciler of one configuration.
func NewWebhooks(c WebhooksConfig) *Webhooks {
	w := &Webhooks{
		client: c.Client, secrets: c.Secrets, settings: c.Settings, tektonNamespace: c.TektonNamespace, name: c.Name,
		informer: admissioninformers.NewFilteredMutatingWebhookConfigurationInformer(c.Client, 0, cache.Indexers{},
			onlyName(c.Name)),
		authorities: authorities{now: c.Now},
	}
	w.PromoteFunc = func(b pkgreconciler.Bucket, enqueue func(pkgreconciler.Bucket, types.NamespacedName)) error {
		enqueue(b, w.Key())
		return nil
	}
	return w
}

// Key is the only key of the reconciler.
func (w *Webhooks) Key() types.NamespacedName { return types.NamespacedName{Name: w.name} }

// OnChange calls f after every change of the configuration and of the settings. Call it before Run.
func (w *Webhooks) OnChange(f func()) {
	mustAdd(w.informer, controller.HandleAll(func(any) { f() }))
	w.settings.OnChange(f)
}

// Run watches the configuration until ctx ends.
func (w *Webhooks) Run(ctx context.Context) { w.informer.RunWithContext(ctx) }

// Reconcile implements controller.Reconciler.
func (w *Webhooks) Reconcile(ctx context.Context, key string) error {
	authority, err := w.authority()
	if err != nil || len(authority) == 0 {
		return err
	}
	if !w.informer.HasSynced() || !w.settings.HasSynced() {
		return controller.NewRequeueAfter(retryInterval)
	}
	w.authorities.learn(w.accepted())
	bundle, again := w.authorities.remember(authority)
	if !w.IsLeaderFor(w.Key()) {
		return controller.NewSkipKey(key)
	}
	if err := w.apply(ctx, bundle); err != nil || again == 0 {
		return err
	}
	return controller.NewRequeueAfter(again)
}

// apply writes the authorities and the namespaces into the configuration, if there is one.
func (w *Webhooks) apply(ctx context.Context, authority []byte) error {
	configuration := get[*admissionv1.MutatingWebhookConfiguration](w.informer, w.name)
	if configuration == nil {
		return nil
	}
	patch, err := webhookPatch(configuration, authority, manifests.WebhookSelectors(w.settings.Get(), w.tektonNamespace))
	if err != nil || patch == nil {
		return err
	}
	_, err = w.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, w.name, types.JSONPatchType,
		patch, metav1.PatchOptions{FieldManager: manifests.Keeper})
	if apierrors.IsNotFound(err) {
		return nil // deleted just now
	}
	if err != nil {
		return fmt.Errorf("writing certificate authority and namespaces into webhook configuration %s: %w", w.name, err)
	}
	return nil
}

// accepted returns the authorities that API servers must accept now.
func (w *Webhooks) accepted() []byte {
	configuration := get[*admissionv1.MutatingWebhookConfiguration](w.informer, w.name)
	if configuration == nil || len(configuration.Webhooks) == 0 {
		return nil
	}
	return configuration.Webhooks[0].ClientConfig.CABundle
}

// authority returns the authority of the webhooks' certificate, or nil while it is being made. Then the Secret
// changes.
func (w *Webhooks) authority() ([]byte, error) {
	secret, err := w.secrets.Secrets(manifests.Namespace).Get(manifests.CertificateSecret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", manifests.CertificateSecret, err)
	}
	return secret.Data[certresources.CACert], nil
}

// webhookPatch returns the JSON patch (RFC 6902) that sets authority and namespaces of every webhook, or nil if all
// are up to date. Each operation tests the webhook's name, because another writer can change the order. One patch
// sets both, so that no webhook is called for a namespace before it can be called. A webhook that is not ours has no
// selector here, and keeps its own.
func webhookPatch(configuration *admissionv1.MutatingWebhookConfiguration, authority []byte,
	selectors map[string]*metav1.LabelSelector,
) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var patch []operation
	for i, w := range configuration.Webhooks {
		path := fmt.Sprintf("/webhooks/%d", i)
		var changes []operation
		if !bytes.Equal(w.ClientConfig.CABundle, authority) {
			changes = append(changes, operation{"add", path + "/clientConfig/caBundle", authority})
		}
		if wanted := selectors[w.Name]; wanted != nil && !equality.Semantic.DeepEqual(w.NamespaceSelector, wanted) {
			changes = append(changes, operation{"add", path + "/namespaceSelector", wanted})
		}
		if len(changes) > 0 {
			patch = append(patch, operation{"test", path + "/name", w.Name})
			patch = append(patch, changes...)
		}
	}
	if len(patch) == 0 {
		return nil, nil
	}
	return json.Marshal(patch)
}
