// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// NodeVolume is a volume of the backend in a pod, which a CSI driver mounts on the pod's node.
type NodeVolume struct{ Name, Driver string }

// NodeVolumes returns which of the known volumes of backends CSI drivers mount into a pod. It returns none for a pod
// without the signer: the author of a TaskRun can give volumes any name.
func NodeVolumes(pod *corev1.Pod, known []NodeVolume) []NodeVolume {
	if imageOf(pod) == "" || pod.Annotations[signing.UnsignedAnnotation] != "" {
		return nil
	}
	var volumes []NodeVolume
	for _, v := range pod.Spec.Volumes {
		if v.CSI == nil {
			continue
		}
		if volume := (NodeVolume{Name: v.Name, Driver: v.CSI.Driver}); slices.Contains(known, volume) {
			volumes = append(volumes, volume)
		}
	}
	return volumes
}

// ChoosesNode reports whether a pod may be on its node because of what its TaskRun wants. The author of a TaskRun
// can choose a node by its pod template, by the volume of a workspace, or by what the containers ask of a node.
func ChoosesNode(pod *corev1.Pod) bool {
	s := pod.Spec
	return len(s.NodeSelector) > 0 || s.Affinity != nil || len(s.TopologySpreadConstraints) > 0 ||
		s.SchedulerName != "" && s.SchedulerName != corev1.DefaultSchedulerName || s.RuntimeClassName != nil ||
		s.HostNetwork || len(s.ResourceClaims) > 0 || slices.ContainsFunc(s.Tolerations, isChosen) ||
		slices.ContainsFunc(s.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil || v.Ephemeral != nil
		}) ||
		slices.ContainsFunc(slices.Concat(s.InitContainers, s.Containers), needsSomeNodes)
}

// needsSomeNodes reports whether only some nodes can run a container: they have its device, or its port is free there.
func needsSomeNodes(c corev1.Container) bool {
	for name := range c.Resources.Requests {
		if !slices.Contains([]corev1.ResourceName{
			corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
		}, name) {
			return true
		}
	}
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 })
}

// isChosen reports whether a toleration is not one that Kubernetes adds to every pod.
func isChosen(t corev1.Toleration) bool {
	return t.Key != corev1.TaintNodeNotReady && t.Key != corev1.TaintNodeUnreachable &&
		t.Key != corev1.TaintNodeMemoryPressure
}

// AwaitsVolumes reports whether a pod has a node, but not yet what its containers need. The kubelet mounts all
// volumes first.
func AwaitsVolumes(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Spec.NodeName == "" || pod.Status.Phase != corev1.PodPending {
		return false
	}
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionTrue
	})
	started := slices.ContainsFunc(
		slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
		func(s corev1.ContainerStatus) bool { return s.State.Running != nil || s.State.Terminated != nil },
	)
	return !ready && !started
}

// Parts of the kubelet's reports about volumes (v1.35, pkg/volume and pkg/kubelet/volumemanager).
const (
	reasonFailedMount = "FailedMount"
	kubelet           = "kubelet"
	oneBegin          = ` failed for volume "`
	manyBegin         = "Unable to attach or mount volumes: unmounted volumes=["
)

// The kubelet tries again after pauses that double from half a second to about two minutes. So its last failure is no
// longer ago than the time before it, and no longer than mountRetry. mountSlack is for the attempt itself, which takes
// 20 seconds with a driver that does not answer.
const (
	mountRetry = 2*time.Minute + 2*time.Second
	mountSlack = 20 * time.Second
)

// Failed returns what the kubelet reported last, if that is that it cannot mount the volume into the pod. scheduled is
// when the pod got its node.
func (v NodeVolume) Failed(pod *corev1.Pod, events []corev1.Event, scheduled, now time.Time) string {
	recent := min(now.Sub(scheduled)/2, mountRetry) + mountSlack
	for i := range events {
		e := &events[i]
		if e.InvolvedObject.UID == pod.UID && e.Reason == reasonFailedMount && e.Source.Component == kubelet &&
			now.Sub(lastTime(e)) <= recent && v.isNamed(e.Message) {
			return fmt.Sprintf("%s: %s", reasonFailedMount, e.Message)
		}
	}
	return ""
}

// isNamed reports whether the kubelet's message is about the volume. Names of volumes have no quotation marks and no
// spaces. Only the beginning counts: after it, the message can have texts that the author of the TaskRun chose.
func (v NodeVolume) isNamed(message string) bool {
	if list, ok := strings.CutPrefix(message, manyBegin); ok {
		list, _, _ = strings.Cut(list, "]")
		return slices.Contains(strings.Fields(list), v.Name)
	}
	_, after, _ := strings.Cut(message, oneBegin)
	return strings.HasPrefix(after, v.Name+`" `)
}

// lastTime returns when an event was last seen.
func lastTime(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	times := []time.Time{e.FirstTimestamp.Time, e.EventTime.Time}
	if e.Series != nil {
		times = append(times, e.Series.LastObservedTime.Time)
	}
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// BackendVolumes returns the volumes that CSI drivers mount into the pods of TaskRuns, by their names in a pod, with
// any backend: pods can be older than the settings.
func BackendVolumes() []NodeVolume {
	var all []NodeVolume
	for _, d := range backends.All() {
		for _, v := range d.StepVolumes {
			if v.Source.CSI != nil {
				all = append(all, NodeVolume{Name: Volume + "-" + v.Name, Driver: v.Source.CSI.Driver})
			}
		}
	}
	return all
}
