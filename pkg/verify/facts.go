// SPDX-License-Identifier: Apache-2.0

package verify

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Facts is what the caller knows about a TaskRun from outside of the object. The zero value is an object from a file.
type Facts struct {
	// Live means that the object comes from the API server, so that its spec is what Tekton ran.
	Live bool
	// Pinned means that status.taskSpec is as Tekton first set it: the add-on kept it that way.
	Pinned bool
	// Pod is what the API server returned for the pod status.podName; nil if the caller did not ask.
	Pod *PodFacts
	// RequirePod makes the verdict INDETERMINATE if the pod is gone or the caller did not ask for it. Without
	// RequirePod that is a note.
	RequirePod bool
	// Attempt is the entry for this archived attempt in the TaskRun's good record; nil if there is none.
	Attempt *record.Attempt
	// Budget limits the work for a TaskRun and its archived attempts together; nil for a TaskRun that is
	// verified alone.
	Budget *Budget
}

// PodFacts is what the API server returned for the pod named in status.podName.
type PodFacts struct {
	Found bool
	UID   types.UID
	// ControllerUID is the UID of the TaskRun that controls the pod, empty if none does.
	ControllerUID types.UID
	// Unfenced means that the pod is older than the policies that stop others from creating a pod in the place
	// of a TaskRun's.
	Unfenced bool
	// Reported is what the kubelet reported; nil if the caller did not read the pod's status.
	Reported *Reported
	// Unsigned is why the pod does not sign, from its own annotation. It explains a verdict and proves nothing.
	Unsigned string
}

// maxUnsigned caps Unsigned, in bytes.
const maxUnsigned = 512

// FactsOf returns the facts about a pod that was found.
func FactsOf(pod metav1.Object) *PodFacts {
	facts := &PodFacts{Found: true, UID: pod.GetUID()}
	if ref := owner.Controller(pod, owner.TaskRun); ref != nil {
		facts.ControllerUID = ref.UID
	}
	if why := pod.GetAnnotations()[signing.UnsignedAnnotation]; len(why) <= maxUnsigned {
		facts.Unsigned = why
	}
	return facts
}
