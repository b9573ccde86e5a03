// SPDX-License-Identifier: Apache-2.0

package verify

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Facts is what the caller knows about a TaskRun from outside of the object. The zero value is an object from a file.
type Facts struct {
	// Live says that the API server itself handed out the object, so that its spec is what Tekton ran.
	Live bool
	// Pinned says that status.taskSpec is as it was when Tekton set it: the add-on saw to that.
	Pinned bool
	// Pod is what a look at the pod called status.podName found; nil when nobody looked.
	Pod *PodFacts
	// RequirePod makes a pod that is gone, or that nobody looked for, INDETERMINATE instead of a note.
	RequirePod bool
	// Budget is what a TaskRun and its archived attempts may take together; nil for a TaskRun that is looked at alone.
	Budget *Budget
}

// PodFacts is what the API server says of the pod named in status.podName.
type PodFacts struct {
	Found bool
	UID   types.UID
	// ControllerUID is the UID of the TaskRun that controls the pod, empty if none does.
	ControllerUID types.UID
	// Unfenced says that the pod is older than the policies which keep others from putting a pod into a TaskRun's place.
	Unfenced bool
	// Unsigned is why the pod does not sign, as it says itself: it explains, and proves nothing.
	Unsigned string
}

// maxUnsigned caps Unsigned, in bytes.
const maxUnsigned = 512

// FactsOf returns what is to be known of a pod that was found.
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
