// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// stockNamespace is where releases of Tekton install it.
const stockNamespace = "tekton-pipelines"

// LiveSettings reads ConfigMap config-signing of Tekton's namespace. Whoever may not look for Tekton in the whole cluster is
// taken to have it where its releases install it.
func LiveSettings(ctx context.Context, client kubernetes.Interface) (settings.Settings, error) {
	namespace := stockNamespace
	controller, err := findTekton(ctx, client, "")
	switch {
	case err == nil:
		namespace = controller.Namespace
	case !apierrors.IsForbidden(err):
		return settings.Settings{}, err
	}
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		return settings.Settings{}, fmt.Errorf("reading the settings in namespace %s: %w", namespace, err)
	}
	return settings.Parse(cm.Data)
}
