// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// waitingPod is a pod that waits on its node for a volume of the backend.
func waitingPod() *corev1.Pod {
	csi := corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "csi.example"}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "p"},
		Spec: corev1.PodSpec{NodeName: "node-1", Volumes: []corev1.Volume{
			{Name: Volume, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}},
			{Name: "own", VolumeSource: csi}, {Name: Volume + "-backend", VolumeSource: csi},
			{Name: Volume + "-pod", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}},
		}},
		Status: corev1.PodStatus{
			Phase:      corev1.PodPending,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse}},
			InitContainerStatuses: []corev1.ContainerStatus{{
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
			}},
		},
	}
}

// TestNodeVolumes: only the volumes of backends count, in pods with the signer.
func TestNodeVolumes(t *testing.T) {
	known := []NodeVolume{{Name: Volume + "-backend", Driver: "csi.example"}}
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   []NodeVolume
	}{
		"ours":               {func(*corev1.Pod) {}, known},
		"of another name":    {func(p *corev1.Pod) { p.Spec.Volumes[2].Name += "-2" }, nil},
		"of another driver":  {func(p *corev1.Pod) { p.Spec.Volumes[2].CSI.Driver = "own.example" }, nil},
		"without the signer": {func(p *corev1.Pod) { p.Spec.Volumes[0].Image = nil }, nil},
		"left alone": {func(p *corev1.Pod) {
			p.Annotations = map[string]string{signing.UnsignedAnnotation: "the pod already has a volume"}
		}, nil},
	} {
		pod := waitingPod()
		tc.change(pod)
		if diff := cmp.Diff(tc.want, NodeVolumes(pod, known)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func ports(container, host int32) []corev1.ContainerPort {
	return []corev1.ContainerPort{{ContainerPort: container, HostPort: host}}
}

// TestChoosesNode: what the author of a TaskRun can use to bring a pod to a node, and what every pod has.
func TestChoosesNode(t *testing.T) {
	tolerates := func(key string) corev1.PodSpec {
		return corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: key, Operator: corev1.TolerationOpExists}}}
	}
	holds := func(v corev1.VolumeSource) corev1.PodSpec {
		return corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: v}}}
	}
	asks := func(name corev1.ResourceName) []corev1.Container {
		requests := corev1.ResourceList{name: resource.MustParse("1")}
		return []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: requests}}}
	}
	for name, tc := range map[string]struct {
		spec corev1.PodSpec
		want bool
	}{
		"a processor":             {corev1.PodSpec{Containers: asks(corev1.ResourceCPU)}, false},
		"a device":                {corev1.PodSpec{Containers: asks("nvidia.com/gpu")}, true},
		"huge pages, at first":    {corev1.PodSpec{InitContainers: asks("hugepages-2Mi")}, true},
		"a claim of a device":     {corev1.PodSpec{ResourceClaims: []corev1.PodResourceClaim{{Name: "gpu"}}}, true},
		"a port of the container": {corev1.PodSpec{Containers: []corev1.Container{{Ports: ports(80, 0)}}}, false},
		"a port of the node":      {corev1.PodSpec{Containers: []corev1.Container{{Ports: ports(80, 80)}}}, true},

		"nothing":            {corev1.PodSpec{SchedulerName: corev1.DefaultSchedulerName}, false},
		"as every pod":       {tolerates(corev1.TaintNodeNotReady), false},
		"unreachable":        {tolerates(corev1.TaintNodeUnreachable), false},
		"an empty folder":    {holds(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}), false},
		"a selector":         {corev1.PodSpec{NodeSelector: map[string]string{"a": "b"}}, true},
		"an affinity":        {corev1.PodSpec{Affinity: &corev1.Affinity{}}, true},
		"a spread":           {corev1.PodSpec{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{}}}, true},
		"a taint":            {tolerates("example.com/builds"), true},
		"every taint":        {tolerates(""), true},
		"a cordon":           {tolerates(corev1.TaintNodeUnschedulable), true},
		"a scheduler":        {corev1.PodSpec{SchedulerName: "mine"}, true},
		"a runtime":          {corev1.PodSpec{RuntimeClassName: new("kata")}, true},
		"the node's network": {corev1.PodSpec{HostNetwork: true}, true},
		"a claim": {holds(corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}), true},
		"a claim of its own": {holds(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}), true},
	} {
		if got := ChoosesNode(&corev1.Pod{Spec: tc.spec}); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestAwaitsVolumes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"waiting":             {func(*corev1.Pod) {}, true},
		"an older kubelet":    {func(p *corev1.Pod) { p.Status.Conditions = nil }, true},
		"just scheduled":      {func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }, true},
		"without a node":      {func(p *corev1.Pod) { p.Spec.NodeName = "" }, false},
		"deleted":             {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, false},
		"running":             {func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }, false},
		"its volumes mounted": {func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionTrue }, false},
		"initializing": {func(p *corev1.Pod) {
			p.Status.InitContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := waitingPod()
			tc.change(pod)
			if got := AwaitsVolumes(pod); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

// The kubelet's own messages (v1.35).
const (
	noDriver = `MountVolume.SetUp failed for volume "tekton-internal-sign-backend" : kubernetes.io/csi: mounter.SetUpAt ` +
		`failed to get CSI client: driver name csi.example not found in the list of registered CSI drivers`
	notInTime = `Unable to attach or mount volumes: unmounted volumes=[cache tekton-internal-sign-backend], ` +
		`unattached volumes=[], failed to process volumes=[]: context deadline exceeded`
	combined = "(combined from similar events): "
)

// TestMountFailed: only a recent report of the kubelet about this pod and this volume counts, and nothing that the
// author of a TaskRun can make a part of another report.
func TestMountFailed(t *testing.T) {
	scheduled := since
	now := since.Add(time.Minute)
	event := func(message string) *corev1.Event {
		return &corev1.Event{
			InvolvedObject: corev1.ObjectReference{UID: "p"}, Reason: "FailedMount", Message: message,
			Source: corev1.EventSource{Component: "kubelet"}, LastTimestamp: metav1.NewTime(now.Add(-20 * time.Second)),
		}
	}
	with := func(change func(*corev1.Event)) *corev1.Event {
		e := event(noDriver)
		change(e)
		return e
	}
	for name, tc := range map[string]struct {
		event *corev1.Event
		want  string
	}{
		"no driver":      {event(noDriver), "FailedMount: " + noDriver},
		"not in time":    {event(notInTime), "FailedMount: " + notInTime},
		"many errors":    {event(combined + noDriver), "FailedMount: " + combined + noDriver},
		"another volume": {event(`MountVolume.SetUp failed for volume "cache" : secret "x" not found`), ""},
		"a longer name":  {event(`MountVolume.SetUp failed for volume "tekton-internal-sign-backend-2" : no`), ""},
		"quoted by another": {event(`MountVolume.SetUp failed for volume "nfs" : mount failed: exit status 32: ` +
			`host:/x failed for volume "tekton-internal-sign-backend" : no`), ""},
		"others not in time": {event(`Unable to attach or mount volumes: unmounted volumes=[cache], unattached ` +
			`volumes=[tekton-internal-sign-backend], failed to process volumes=[]: context deadline exceeded`), ""},
		"another pod":    {with(func(e *corev1.Event) { e.InvolvedObject.UID = "q" }), ""},
		"another reason": {with(func(e *corev1.Event) { e.Reason = "FailedScheduling" }), ""},
		"not of a node":  {with(func(e *corev1.Event) { e.Source.Component = "somebody" }), ""},
		"mounted since":  {with(func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(scheduled.Add(time.Second)) }), ""},
		"seen again": {with(func(e *corev1.Event) {
			e.LastTimestamp = metav1.Time{}
			e.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(now)}
		}), "FailedMount: " + noDriver},
	} {
		t.Run(name, func(t *testing.T) {
			m := NodeVolume{Name: "tekton-internal-sign-backend", Driver: "csi.example"}
			if got := m.Failed(waitingPod(), []corev1.Event{*tc.event}, scheduled, now); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
