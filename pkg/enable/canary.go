// SPDX-License-Identifier: Apache-2.0

package enable

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
)

// canaryPod returns a pod as Tekton makes them, for a dry run.
func canaryPod(namespace string) *corev1.Pod {
	return inject.Model(namespace, "tekton-sign.invalid/entrypoint")
}
