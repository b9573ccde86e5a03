// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
)

func containers(pod *corev1.Pod) int {
	return len(pod.Spec.Containers) + len(pod.Spec.InitContainers) + len(pod.Spec.EphemeralContainers)
}

// How many bytes compression saves on evidence alone. It is not much, because a token hardly compresses. We
// measured about 55.
const leastSaved, mostSaved = 48, 96

// budget is the room in the termination messages of a pod's steps.
type budget struct {
	containers int  // of the pod with the signer
	own        int  // the signer's containers among them
	compresses bool // the entrypoint compresses messages
	reads      bool // Tekton's controller reads compressed messages
	emits      bool // a step may emit results in its message
}

func budgetOf(pod *corev1.Pod, steps []stepContainer) budget {
	b := budget{containers: containers(pod), compresses: steps[0].flags.has(flagCompress)}
	if slices.ContainsFunc(pod.Spec.InitContainers, isOwn) {
		b.own = 1
	}
	// The signer of an earlier version has no flag to compress.
	b.reads = b.compresses || readsCompressed(pod) && (!steps[0].wrapped || steps[0].room > 0)
	b.emits = slices.ContainsFunc(steps, func(s stepContainer) bool {
		return s.values == nil && (s.flags.values[flagResults] != "" || s.flags.values[flagStepResults] != "")
	})
	return b
}

func (b budget) share() int { return room.Share(b.containers) }

// room returns the share after someone adds a container to the pod, such as one for debugging.
func (b budget) room() int { return room.Share(b.containers + 1) }

// lowered reports whether the signer's container reduces the share of the others.
func (b budget) lowered() bool { return b.share() < room.Share(b.containers-b.own) }

// check returns an error if the signer would cause results to be lost, or if no step could ever sign.
func (b budget) check(evidence int) error {
	if b.lowered() && b.emits && !b.reads {
		return skipped("the signer's init container would leave results %d bytes, not %d, and longer ones would be lost; "+
			"%s, or %s",
			b.share(), room.Share(b.containers-b.own), byCompression, byImageVolume)
	}
	least := evidence
	if b.reads {
		least -= mostSaved
	}
	if least <= b.share() {
		return nil
	}
	return skipped("a step's evidence takes about %d bytes, this pod's %d containers leave each message %d; %s",
		evidence, b.containers, b.share(), b.advice(evidence))
}

// Advice for pods that do not fit.
const (
	byImageVolume = "use an image volume (Kubernetes 1.35)"
	byCompression = "set Tekton's enable-termination-message-compression"
)

// advice returns what would help this pod.
func (b budget) advice(evidence int) string {
	compressed := evidence - leastSaved
	need := evidence
	if b.reads {
		need = compressed
	}
	most := room.AllMessages / need
	advice := []string{fmt.Sprintf("have at most %d", most)}
	if b.own > 0 && b.containers-b.own <= most {
		advice = append(advice, byImageVolume)
	}
	if !b.reads && compressed <= b.share() {
		advice = append(advice, byCompression)
	}
	return strings.Join(advice, ", or ")
}

// release matches a reference to the entrypoint's image of a Tekton release, in any registry.
var release = regexp.MustCompile(`/entrypoint[^/:@]*:v1\.(\d{1,4})\.\d+(@sha256:[0-9a-f]{64})?$`)

// firstThatReads is the first minor version of Tekton Pipelines whose controller reads compressed messages
// regardless of its settings.
const firstThatReads = 13

// readsCompressed reports whether a release of Tekton that reads compressed messages made the pod.
func readsCompressed(pod *corev1.Pod) bool {
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == prepareName })
	if i < 0 {
		return false
	}
	return ReadsCompressed(pod.Spec.InitContainers[i].Image)
}

// ReadsCompressed reports whether an image is the entrypoint of a release of Tekton that reads compressed messages.
func ReadsCompressed(image string) bool {
	match := release.FindStringSubmatch(image)
	if match == nil {
		return false
	}
	minor, err := strconv.Atoi(match[1])
	return err == nil && minor >= firstThatReads
}
