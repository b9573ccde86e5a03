// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
)

// sealKeyInterval is how often the key is checked, in addition to every change of its Secret.
const sealKeyInterval = time.Minute

// SealKey fills the empty Secret of the manifests with the key of the seal. It never replaces a usable key. Every
// replica does this, not only the leader. In an upgrade from a version without seals, a replica of that version
// leads until the new ones are ready, and they need the key for that.
type SealKey struct {
	pkgreconciler.LeaderAwareFuncs

	client  kubernetes.Interface
	secrets corelisters.SecretLister
	log     *zap.SugaredLogger
}

// NewSealKey returns the reconciler.
func NewSealKey(client kubernetes.Interface, secrets corelisters.SecretLister, log *zap.SugaredLogger) *SealKey {
	return &SealKey{client: client, secrets: secrets, log: log}
}

// Key is the only key of the reconciler.
func (k *SealKey) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: manifests.Namespace, Name: manifests.SealKeySecret}
}

// Reconcile implements controller.Reconciler.
func (k *SealKey) Reconcile(ctx context.Context, _ string) error {
	secret, err := k.secrets.Secrets(manifests.Namespace).Get(manifests.SealKeySecret)
	if apierrors.IsNotFound(err) {
		return nil // enable creates it
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", manifests.SealKeySecret, err)
	}
	if _, err := seal.ParseKey(secret.Data[seal.SecretKey]); err == nil {
		return controller.NewRequeueAfter(sealKeyInterval)
	}
	updated := secret.DeepCopy() // with its resourceVersion, so that no other key is overwritten
	updated.Data = map[string][]byte{seal.SecretKey: seal.NewSecret()}
	_, err = k.client.CoreV1().Secrets(manifests.Namespace).Update(ctx, updated,
		metav1.UpdateOptions{FieldManager: manifests.Controller})
	if apierrors.IsConflict(err) {
		return nil // the change is seen soon, and triggers this again
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", manifests.SealKeySecret, err)
	}
	k.log.Infow("made a key for the seals of verdicts", "secret", manifests.SealKeySecret)
	return controller.NewRequeueAfter(sealKeyInterval)
}
