// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

const (
	// certificateLifetime is how long a certificate is valid.
	certificateLifetime = 7 * 24 * time.Hour
	// certificateRenewal is how long before its end a certificate is replaced.
	certificateRenewal = 24 * time.Hour
	// certificateInterval is how often the certificate is checked, because no event announces its end, and a clock can
	// jump.
	certificateInterval = 10 * time.Second
	// certificateBackdate is how much the clocks of API servers may differ.
	certificateBackdate = time.Hour
)

// Certificate maintains the certificate of the webhooks, in the Secret of the manifests. Its beginning is the API
// server's own time, taken from the Secret. If it came from a replica whose clock is ahead, as with
// knative.dev/pkg/webhook/certificates, API servers would not accept it until their clocks get there.
type Certificate struct {
	pkgreconciler.LeaderAwareFuncs

	client  kubernetes.Interface
	secrets corelisters.SecretLister
	now     func() time.Time
	log     *zap.SugaredLogger
}

// NewCertificate returns the reconciler.
func NewCertificate(client kubernetes.Interface, secrets corelisters.SecretLister, now func() time.Time,
	log *zap.SugaredLogger) *Certificate {
	c := &Certificate{client: client, secrets: secrets, now: now, log: log}
	c.PromoteFunc = func(b pkgreconciler.Bucket, enqueue func(pkgreconciler.Bucket, types.NamespacedName)) error {
		enqueue(b, c.Key())
		return nil
	}
	return c
}

// Key is the only key of the reconciler.
func (c *Certificate) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: manifests.Namespace, Name: manifests.CertificateSecret}
}

// Reconcile implements controller.Reconciler.
func (c *Certificate) Reconcile(ctx context.Context, key string) error {
	if !c.IsLeaderFor(c.Key()) {
		return controller.NewSkipKey(key)
	}
	secret, err := c.secrets.Secrets(manifests.Namespace).Get(manifests.CertificateSecret)
	if apierrors.IsNotFound(err) {
		return nil // enable creates it
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", manifests.CertificateSecret, err)
	}
	if amiss := c.amiss(secret); amiss != nil {
		if err := c.replace(ctx, secret, amiss); err != nil {
			return err
		}
	}
	return controller.NewRequeueAfter(certificateInterval)
}

// amiss returns why the certificate in the Secret cannot be used any longer, or nil.
func (c *Certificate) amiss(secret *corev1.Secret) error {
	pair, err := tls.X509KeyPair(secret.Data[certresources.ServerCert], secret.Data[certresources.ServerKey])
	if err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(secret.Data[certresources.CACert])
	ends := c.now().Add(certificateRenewal)
	switch leaf := pair.Leaf; {
	case leaf.NotBefore.After(secret.CreationTimestamp.Time):
		return fmt.Errorf("expected it to be valid since the Secret was created, at %s, got %s",
			secret.CreationTimestamp.UTC().Format(time.RFC3339), leaf.NotBefore.Format(time.RFC3339))
	case !leaf.NotAfter.After(ends):
		return fmt.Errorf("expected it to be valid until after %s, got %s", ends.UTC().Format(time.RFC3339),
			leaf.NotAfter.Format(time.RFC3339))
	default:
		_, err := leaf.Verify(x509.VerifyOptions{Roots: authorities, DNSName: manifests.WebhookHost,
			CurrentTime: leaf.NotAfter})
		return err
	}
}

// replace replaces the certificate in the Secret.
func (c *Certificate) replace(ctx context.Context, secret *corev1.Secret, why error) error {
	made, err := newServingPair(secret.CreationTimestamp.Add(-certificateBackdate), c.now().Add(certificateLifetime))
	if err != nil {
		return fmt.Errorf("making a certificate for the webhooks: %w", err)
	}
	updated := secret.DeepCopy()
	updated.Data = map[string][]byte{
		certresources.ServerKey: made.key, certresources.ServerCert: made.certificate, certresources.CACert: made.authority,
	}
	_, err = c.client.CoreV1().Secrets(manifests.Namespace).Update(ctx, updated,
		metav1.UpdateOptions{FieldManager: manifests.Keeper})
	if apierrors.IsConflict(err) {
		return nil // the change is seen soon, and triggers this again
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", manifests.CertificateSecret, err)
	}
	if len(secret.Data) > 0 { // it is not the first one
		c.log.Infow("replaced the certificate of the webhooks", "reason", why.Error())
	}
	return nil
}
