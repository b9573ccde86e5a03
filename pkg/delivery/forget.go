// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Read returns the content of the ConfigMap. It is empty if the ConfigMap does not exist.
func Read(ctx context.Context, client Client) (Table, error) {
	cm, err := client.CoreV1().ConfigMaps(settings.Namespace).Get(ctx, ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Parse(nil), nil
	}
	if err != nil {
		return Table{}, fmt.Errorf("reading ConfigMap %s/%s: %w", settings.Namespace, ConfigMapName, err)
	}
	return Parse(cm.Data), nil
}

// Forget removes a source's exceptions for namespaces.
func Forget(ctx context.Context, client Client, source Source, namespaces []string, owner string) error {
	data := map[string]any{}
	for _, namespace := range namespaces {
		data[id{namespace: namespace, source: source}.key()] = nil
	}
	if len(data) == 0 {
		return nil
	}
	return patch(ctx, client, owner, data)
}
