// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pullSecretsAnnotation holds the names of the pull secrets that the add-on added to a pod, joined by commas,
// so that unwrapping the pod removes only those.
const pullSecretsAnnotation = "tekton-sign.dev/pull-secrets"

// addPullSecrets adds the missing pull secrets to a stock pod.
func addPullSecrets(pod *corev1.Pod, names []string) {
	delete(pod.Annotations, pullSecretsAnnotation) // on a stock pod, the annotation is not ours
	var added []string
	for _, name := range names {
		secret := corev1.LocalObjectReference{Name: name}
		if !slices.Contains(pod.Spec.ImagePullSecrets, secret) {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, secret)
			added = append(added, name)
		}
	}
	if len(added) > 0 {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, pullSecretsAnnotation, strings.Join(added, ","))
	}
}

// removePullSecrets undoes addPullSecrets.
func removePullSecrets(pod *corev1.Pod) {
	added := strings.Split(pod.Annotations[pullSecretsAnnotation], ",")
	pod.Spec.ImagePullSecrets = slices.DeleteFunc(pod.Spec.ImagePullSecrets,
		func(s corev1.LocalObjectReference) bool { return slices.Contains(added, s.Name) })
	delete(pod.Annotations, pullSecretsAnnotation)
}
