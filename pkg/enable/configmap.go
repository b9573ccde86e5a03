// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// WithConfigMap adds the backend's own ConfigMap in Tekton's namespace to the settings. missing is the warning if
// there is none.
func WithConfigMap(
	ctx context.Context, client kubeclient.Interface, namespace string, s settings.Settings,
) (with settings.Settings, missing string, err error) {
	of := backends.Of(s.Backend).ConfigMap
	if of == nil {
		return s, "", nil
	}
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, of.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return s, of.Missing(namespace), nil
	case err != nil:
		return s, "", fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, of.Name, err)
	}
	with, err = of.Read(s, cm.Data)
	return with, "", err
}
