// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// taskRun is the TaskRun to which a pod belongs.
type taskRun struct {
	name string
	uid  signing.UID
}

// controllerOf returns the reference to the TaskRun that controls the pod, or nil if none does.
func controllerOf(pod *corev1.Pod) *metav1.OwnerReference {
	return owner.Controller(pod, owner.TaskRun)
}

// taskRunOf returns the pod's TaskRun, which the owner reference names. It returns an error if the labels
// name another one, because verifiers would look for the evidence in the wrong place.
func taskRunOf(pod *corev1.Pod) (taskRun, error) {
	owner := controllerOf(pod)
	if owner == nil {
		return taskRun{}, skipped("no TaskRun controls the pod")
	}
	if pod.Namespace == "" {
		return taskRun{}, fmt.Errorf("pod %q has no namespace; fill in the one of the admission request", pod.Name)
	}
	for label, want := range map[string]string{pipeline.TaskRunLabelKey: owner.Name,
		pipeline.TaskRunUIDLabelKey: string(owner.UID)} {
		if got, ok := pod.Labels[label]; ok && got != want {
			return taskRun{}, fmt.Errorf("pod %q is labelled %s=%s, but its owner reference names %s; "+
				"only Tekton's controller may create pods of TaskRuns", pod.Name, label, got, want)
		}
	}
	uid, err := signing.ParseUID(string(owner.UID))
	if err != nil {
		return taskRun{}, fmt.Errorf("owner reference of pod %q: %w", pod.Name, err)
	}
	return taskRun{name: owner.Name, uid: uid}, nil
}
