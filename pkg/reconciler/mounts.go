// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
)

// How long a pod may wait on its node for a volume of the backend, and how often it is examined from then on. A CSI
// driver that is updated comes back within seconds, and the kubelet mounts the volume then. On a node where another
// pod did not start, a pod waits only until the kubelet has tried several times.
const (
	mountPatience = time.Minute
	mountAgain    = 15 * time.Second
	mountRecheck  = 20 * time.Second
)

// patience returns how long a pod of which only its TaskRun is known may wait.
func (s *Starts) patience() time.Duration {
	if len(s.Nodes()) > 0 {
		return mountAgain
	}
	return mountPatience
}

// patienceOn returns how long a pod may wait on a node.
func (s *Starts) patienceOn(node string) time.Duration {
	if slices.Contains(s.Nodes(), node) {
		return mountAgain
	}
	return mountPatience
}

// maxMountEvents bounds the events that are read about one pod. There is one for each volume that is not mounted, and
// for each different error.
const maxMountEvents = 100

// awaitsVolume returns why a pod does not start if its node does not mount a volume of the backend. While the pod waits
// for volumes, it is examined again: the kubelet may report the reason later.
func (s *Starts) awaitsVolume(ctx context.Context, pod *corev1.Pod) (stuckPod, error) {
	mounts := delivery.NodeVolumes(pod, s.Volumes)
	if len(mounts) == 0 || !delivery.AwaitsVolumes(pod) {
		return stuckPod{}, nil
	}
	scheduled := scheduledAt(pod)
	if young := s.patienceOn(pod.Spec.NodeName) - s.Now().Sub(scheduled); young > 0 {
		return stuckPod{again: young}, nil
	}
	for _, m := range mounts {
		if !slices.Contains(s.Drivers(), m.Driver) {
			return stuckPod{
				why: "the pod waits for a volume that another backend needed", uid: pod.UID, seen: pod.ResourceVersion,
			}, nil
		}
		why, source, err := s.whyNotMounted(ctx, pod, m, scheduled)
		if err != nil {
			return stuckPod{}, err
		}
		if why != "" {
			return notMounted(pod, m, why, source), nil
		}
	}
	return stuckPod{again: mountRecheck}, nil
}

// notMounted describes a pod whose node does not mount a volume.
func notMounted(pod *corev1.Pod, m delivery.NodeVolume, why string, source delivery.Source) stuckPod {
	node := pod.Spec.NodeName
	return stuckPod{
		why: why, source: source, uid: pod.UID, seen: pod.ResourceVersion, node: node,
		next: fmt.Sprintf("make the CSI driver %s work on node %s (kubectl get pods -A --field-selector spec.nodeName=%s); "+
			"pods get the signer again when it does", m.Driver, node, node),
	}
}

// whyNotMounted returns why the node of a pod does not mount a volume, empty if nothing shows that. The source is
// Mount if that concerns the pods of other TaskRuns, too: only a node writes its CSINode, and the pod got there by no
// choice of its TaskRun. Anyone who can create events can make one of the kubelet's, so an event concerns this TaskRun
// only.
func (s *Starts) whyNotMounted(ctx context.Context, pod *corev1.Pod, m delivery.NodeVolume, scheduled time.Time) (
	why string, source delivery.Source, err error) {
	has, err := hasDriver(ctx, s.Client, pod.Spec.NodeName, m.Driver)
	if err != nil {
		return "", "", err
	}
	if !has {
		source = delivery.Mount
		if delivery.ChoosesNode(pod) {
			source = delivery.Once
		}
		return fmt.Sprintf("the CSI driver %s does not run on node %s", m.Driver, pod.Spec.NodeName), source, nil
	}
	list, err := s.Client.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(pod.UID)).String(), Limit: maxMountEvents,
	})
	if err != nil {
		return "", "", fmt.Errorf("reading the events of the TaskRun's pod: %w", err)
	}
	if why = m.Failed(pod, list.Items, scheduled, s.Now()); why != "" {
		return fmt.Sprintf("node %s: %s", pod.Spec.NodeName, why), delivery.Once, nil
	}
	return "", "", nil
}

// hasDriver reports whether a CSI driver is registered with the kubelet of a node.
func hasDriver(ctx context.Context, client kubernetes.Interface, node, driver string) (bool, error) {
	csi, err := client.StorageV1().CSINodes().Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the CSI drivers of node %s: %w", node, err)
	}
	return slices.ContainsFunc(csi.Spec.Drivers, func(d storagev1.CSINodeDriver) bool {
		return d.Name == driver
	}), nil
}
