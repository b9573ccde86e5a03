// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
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

// CABundle writes the authority of the webhooks' certificate into one webhook configuration. The configuration itself is
// the plugin's (or kubectl's); if it is absent there is nothing to do.
type CABundle struct {
	pkgreconciler.LeaderAwareFuncs

	client   kubernetes.Interface
	secrets  corelisters.SecretLister
	informer cache.SharedIndexInformer
	name     string
	now      func() time.Time

	mu       sync.Mutex
	current  []byte // the authority of the certificate
	previous []byte // the one before, while API servers are to accept both
	since    time.Time
}

// authorityOverlap is how long API servers accept the authority before the present one too. Replicas go on using the
// certificate before for a part of that, so that there is never one which nobody accepts.
const authorityOverlap = 5 * time.Minute

// NewCABundle returns the reconciler of the configuration called name.
func NewCABundle(client kubernetes.Interface, secrets corelisters.SecretLister, name string, now func() time.Time) *CABundle {
	c := &CABundle{
		client:  client,
		secrets: secrets,
		informer: admissioninformers.NewFilteredMutatingWebhookConfigurationInformer(client, 0, cache.Indexers{},
			onlyName(name)),
		name: name,
		now:  now,
	}
	c.PromoteFunc = func(b pkgreconciler.Bucket, enqueue func(pkgreconciler.Bucket, types.NamespacedName)) error {
		enqueue(b, c.Key())
		return nil
	}
	return c
}

// Key is the one key of the reconciler.
func (c *CABundle) Key() types.NamespacedName { return types.NamespacedName{Name: c.name} }

// OnChange has f called after every change of the configuration. It is called before Run only.
func (c *CABundle) OnChange(f func()) {
	mustAdd(c.informer, controller.HandleAll(func(any) { f() }))
}

// Run follows the configuration until ctx ends.
func (c *CABundle) Run(ctx context.Context) { c.informer.RunWithContext(ctx) }

// Reconcile implements controller.Reconciler.
func (c *CABundle) Reconcile(ctx context.Context, key string) error {
	secret, err := c.secrets.Secrets(manifests.Namespace).Get(manifests.CertificateSecret)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil // its creation calls again
		}
		return fmt.Errorf("reading Secret %s: %w", manifests.CertificateSecret, err)
	}
	authority := secret.Data[certresources.CACert]
	if len(authority) == 0 {
		return nil // the certificate is still being made, which changes the Secret
	}
	bundle, again := c.remember(authority)
	if !c.IsLeaderFor(c.Key()) {
		return controller.NewSkipKey(key)
	}
	if err := c.bring(ctx, bundle); err != nil || again == 0 {
		return err
	}
	return controller.NewRequeueAfter(again)
}

// remember notes the authority, and returns all that API servers are to accept now and when that changes. Every replica
// does, not only the one that leads: another may lead when it changes.
func (c *CABundle) remember(authority []byte) (bundle []byte, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !bytes.Equal(c.current, authority) {
		c.previous, c.current, c.since = c.current, bytes.Clone(authority), now
	}
	again = authorityOverlap - now.Sub(c.since)
	if len(c.previous) == 0 || again <= 0 {
		c.previous = nil
		return c.current, 0
	}
	return slices.Concat(c.current, c.previous), again
}

// bring writes the authorities into the configuration.
func (c *CABundle) bring(ctx context.Context, authority []byte) error {
	obj, ok, err := c.informer.GetStore().GetByKey(c.name)
	if err != nil || !ok {
		return err
	}
	configuration, ok := obj.(*admissionv1.MutatingWebhookConfiguration)
	if !ok {
		return fmt.Errorf("webhook configuration %s has type %T", c.name, obj)
	}
	patch, err := caBundlePatch(configuration, authority)
	if err != nil || patch == nil {
		return err
	}
	_, err = c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, c.name, types.JSONPatchType,
		patch, metav1.PatchOptions{FieldManager: manifests.Controller})
	if err != nil {
		return fmt.Errorf("writing the certificate authority into webhook configuration %s: %w", c.name, err)
	}
	return nil
}

// caBundlePatch returns the JSON patch (RFC 6902) that sets the authority of every webhook, nil if all have it. Each
// operation is tied to the webhook's name, because another writer may change the order.
func caBundlePatch(configuration *admissionv1.MutatingWebhookConfiguration, authority []byte) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var patch []operation
	for i, w := range configuration.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, authority) {
			patch = append(patch,
				operation{"test", fmt.Sprintf("/webhooks/%d/name", i), w.Name},
				operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), authority})
		}
	}
	if len(patch) == 0 {
		return nil, nil
	}
	return json.Marshal(patch)
}
