// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// withBackendConfig adds Tekton's ConfigMap config-spire to settings of the backend spire. found is whether there is one.
func withBackendConfig(
	ctx context.Context, client kubeclient.Interface, namespace string, s settings.Settings,
) (with settings.Settings, found bool, err error) {
	if s.Backend != signing.BackendSPIRE {
		return s, true, nil
	}
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, config.ConfigMapName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return s, false, nil
	case err != nil:
		return s, false, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, config.ConfigMapName, err)
	}
	with, err = s.WithSPIRE(cm.Data)
	return with, true, err
}

// noBackendConfig is the warning for a cluster without ConfigMap config-spire.
func noBackendConfig(namespace string) string {
	d := config.Default()
	return fmt.Sprintf("namespace %s has no ConfigMap %s, so Tekton's defaults apply: trust domain %s, server %s. "+
		"If SPIRE has others, create the ConfigMap with the keys %s and %s.",
		namespace, config.ConfigMapName, d.TrustDomain, d.ServerAddr, config.KeyTrustDomain, config.KeyServerAddr)
}
