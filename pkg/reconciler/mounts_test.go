// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const (
	mountDriver = "csi.example"
	mountVolume = delivery.Volume + "-backend"
	mountError  = `MountVolume.SetUp failed for volume "` + mountVolume + `" : dial unix: connection refused`
)

// mountRig is a TaskRun whose pod has waited on its node for two minutes. Tests change one part of it.
type mountRig struct {
	now      time.Time
	taskRun  *unstructured.Unstructured
	pod      *corev1.Pod
	csiNode  *storagev1.CSINode
	event    *corev1.Event
	enforced bool
	stopped  bool
	unwanted bool
	full     bool // no room for exceptions
	changed  bool // the pod, since it was read
	drivers  []string
	nodes    []string

	client *fake.Clientset
	queue  laterKeys
	stops  map[delivery.Source]delivery.Exception
}

func newMountRig() *mountRig {
	now := time.Now().Truncate(time.Second)
	pod := startingPod(signerImage, delivery.InitContainer, "PodInitializing", "")
	pod.Spec.NodeName, pod.ResourceVersion = "node-1", "7"
	pod.Spec.Volumes = []corev1.Volume{{Name: mountVolume, VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: mountDriver},
	}}}
	pod.Status.Phase = corev1.PodPending
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.NewTime(now.Add(-2 * time.Minute))},
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse},
	}
	return &mountRig{
		now: now, pod: pod, drivers: []string{mountDriver}, stops: map[delivery.Source]delivery.Exception{},
		taskRun: startingRun("Unknown", "Pending", `pod status "PodReadyToStartContainers":"False"; message: ""`),
		csiNode: nodeWithDriver("node-1", mountDriver),
		event: &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "e"}, InvolvedObject: corev1.ObjectReference{UID: pod.UID},
			Reason: "FailedMount", Message: mountError, Source: corev1.EventSource{Component: "kubelet"},
			LastTimestamp: metav1.NewTime(now.Add(-10 * time.Second)),
		},
	}
}

func nodeWithDriver(name string, drivers ...string) *storagev1.CSINode {
	node := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, d := range drivers {
		node.Spec.Drivers = append(node.Spec.Drivers, storagev1.CSINodeDriver{Name: d, NodeID: name})
	}
	return node
}

func (r *mountRig) starts(t *testing.T) *Starts {
	t.Helper()
	r.client = fake.NewClientset(r.pod, r.csiNode, r.event)
	r.client.PrependReactor("delete", "pods", func(action k8stesting.Action) (bool, runtime.Object, error) {
		only := action.(k8stesting.DeleteAction).GetDeleteOptions().Preconditions
		if only == nil || only.UID == nil || *only.UID != r.pod.UID || only.ResourceVersion == nil ||
			*only.ResourceVersion != r.pod.ResourceVersion {
			t.Errorf("the pod is deleted with preconditions %v", only)
		}
		if r.changed {
			return true, nil, apierrors.NewConflict(corev1.Resource("pods"), r.pod.Name, errors.New("it has changed"))
		}
		return false, nil, nil
	})
	s := NewStarts(StartsConfig{
		Client: r.client, Image: signerImage,
		Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{tektonResource(TaskRuns): "TaskRunList"}, r.taskRun),
		Wanted: func(string) bool { return !r.unwanted }, Enforced: func(string) bool { return r.enforced },
		Stopped: func(string, types.UID) bool { return r.stopped }, Drivers: func() []string { return r.drivers },
		Volumes: []delivery.NodeVolume{{Name: mountVolume, Driver: mountDriver}},
		Nodes:   func() []string { return r.nodes },
		Stop: func(_ context.Context, _ string, source delivery.Source, e delivery.Exception) error {
			if r.full {
				return delivery.ErrFull
			}
			r.stops[source] = e
			return nil
		},
		OnStuck: func(bool) {}, Recorder: record.NewFakeRecorder(10), Now: func() time.Time { return r.now },
		Log: zap.NewNop().Sugar(),
	})
	s.Start(t.Context(), &r.queue, func(context.Context) {})
	if err := s.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// events returns what was reported about the TaskRun.
func (r *mountRig) events(t *testing.T) (all string) {
	t.Helper()
	list, err := r.client.CoreV1().Events("ci").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == "TaskRun" {
			all += e.Reason + ": " + e.Message
		}
	}
	return all
}

// TestStartsMounts: a pod that waits for a volume of the backend, because its node does not mount it, is replaced like
// one whose node does not get the signer. A pod that waits for something else, or not for long, is left to itself.
func TestStartsMounts(t *testing.T) {
	withoutDriver := "the CSI driver " + mountDriver + " does not run on node node-1"
	failed := "node node-1: FailedMount: " + mountError
	noEvent := func(r *mountRig) { r.event.InvolvedObject.UID = "another" }
	for name, tc := range map[string]struct {
		change  func(*mountRig)
		reason  string // of the exception
		event   string
		deleted bool
		again   time.Duration
	}{
		"the driver does not mount": {func(*mountRig) {}, failed, "this TaskRun runs unsigned", false, seenEverywhere},
		"no driver": {func(r *mountRig) { noEvent(r); r.csiNode.Spec.Drivers = nil }, withoutDriver,
			"spec.nodeName=node-1", false, seenEverywhere},
		"other drivers": {func(r *mountRig) { noEvent(r); r.csiNode = nodeWithDriver("node-1", "other.example") },
			withoutDriver, withoutDriver, false, seenEverywhere},
		"an unknown node": {func(r *mountRig) { noEvent(r); r.csiNode.Name = "node-2" }, withoutDriver, withoutDriver,
			false, seenEverywhere},
		"enforced": {func(r *mountRig) { r.enforced = true }, "", "no TaskRun starts until this is fixed", false, 0},
		"not the signer's": {func(r *mountRig) {
			r.pod.Spec.Volumes[0].Name += "-2"
		}, "", "", false, 0},
		"of its own driver": {func(r *mountRig) {
			r.pod.Spec.Volumes[0].CSI.Driver = "own.example"
		}, "", "", false, 0},
		"of its own driver, enforced": {func(r *mountRig) {
			r.pod.Spec.Volumes[0].CSI.Driver, r.enforced = "own.example", true
		}, "", "", false, 0},
		"without the signer": {func(r *mountRig) { r.pod.Spec.InitContainers = nil }, "", "", false, 0},
		"left alone": {func(r *mountRig) {
			r.pod.Annotations = map[string]string{signing.UnsignedAnnotation: "r"}
		}, "", "", false, 0},
		"out of scope": {func(r *mountRig) { r.unwanted = true }, "", "", true, 0},
		"out of scope, and not for long": {func(r *mountRig) {
			r.unwanted = true
			r.pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(r.now)
		}, "", "", false, mountPatience},
		"chosen by its pod template, without the driver": {func(r *mountRig) {
			r.csiNode.Spec.Drivers, r.pod.Spec.NodeSelector = nil, map[string]string{"disk": "ssd"}
		}, withoutDriver, "this TaskRun runs unsigned", false, seenEverywhere},
		"no room": {func(r *mountRig) { r.full = true }, "", "", false, mountRecheck},
		"no room for the namespace": {func(r *mountRig) { r.csiNode.Spec.Drivers, r.full = nil, true }, "",
			"TaskRuns here go on hanging", false, 0},
		"changed since":  {func(r *mountRig) { r.stopped, r.changed = true, true }, "", "", false, seenEverywhere},
		"stopped before": {func(r *mountRig) { r.stopped = true }, "", "", true, 0},
		"not for long": {func(r *mountRig) {
			r.pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(r.now.Add(-time.Minute / 4))
		}, "", "", false, mountPatience * 3 / 4},
		"not for long, but on such a node": {func(r *mountRig) {
			r.nodes = []string{"node-1"}
			r.pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(r.now.Add(-time.Minute / 4))
		}, failed, "this TaskRun runs unsigned", false, seenEverywhere},
		"of another backend":           {func(r *mountRig) { r.drivers = nil }, "", "", true, 0},
		"of another backend, enforced": {func(r *mountRig) { r.drivers, r.enforced = nil, true }, "", "", true, 0},
		"for something else":           {noEvent, "", "", false, mountRecheck},
		"for its containers": {func(r *mountRig) {
			r.pod.Status.Conditions[1].Status = corev1.ConditionTrue
		}, "", "", false, 0},
		"made before spire":       {func(r *mountRig) { r.pod.Spec.Volumes = nil }, "", "", false, 0},
		"for a volume of its own": {func(r *mountRig) { r.pod.Spec.Volumes[0].Name = "own" }, "", "", false, 0},
		"the pod of another":      {func(r *mountRig) { r.pod.OwnerReferences[0].UID = "another" }, "", "", false, 0},
		"it runs": {func(r *mountRig) {
			r.taskRun = startingRun("Unknown", "Running", "")
		}, "", "", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newMountRig()
			tc.change(r)
			err := r.starts(t).Reconcile(t.Context(), "ci/build")
			_, again := controller.IsRequeueKey(err)
			if again != tc.again || err != nil && again == 0 {
				t.Errorf("got %v, to be examined again after %s, want %s", err, again, tc.again)
			}
			want := map[delivery.Source]delivery.Exception{}
			if tc.reason != "" {
				e := delivery.Exception{Delivery: delivery.None, Reason: tc.reason, Since: r.now, Node: "node-1"}
				source := delivery.Mount
				if strings.Contains(tc.event, "this TaskRun") {
					source, e.TaskRun = delivery.Once, r.taskRun.GetUID()
				}
				want[source] = e
			}
			if diff := cmp.Diff(want, r.stops); diff != "" {
				t.Errorf("exceptions (-want +got):\n%s", diff)
			}
			if got := r.events(t); (got == "") != (tc.event == "") || !strings.Contains(got, tc.event) {
				t.Errorf("got event %q, want %q", got, tc.event)
			}
			_, err = r.client.CoreV1().Pods("ci").Get(t.Context(), r.pod.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) != tc.deleted {
				t.Errorf("the pod: %v, want it deleted: %t", err, tc.deleted)
			}
		})
	}
}

// TestStartsSeenPending: a TaskRun whose pod has not started is examined later, and only if the backend has volumes
// that a driver mounts.
func TestStartsSeenPending(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*mountRig)
		want   []time.Duration
	}{
		"pending":         {func(*mountRig) {}, []time.Duration{mountPatience}},
		"after others":    {func(r *mountRig) { r.nodes = []string{"node-2"} }, []time.Duration{mountAgain}},
		"without drivers": {func(r *mountRig) { r.drivers = nil }, nil},
		"out of scope":    {func(r *mountRig) { r.unwanted = true }, nil},
		"running":         {func(r *mountRig) { r.taskRun = startingRun("Unknown", "Running", "") }, nil},
		"done":            {func(r *mountRig) { r.taskRun = startingRun("True", "Succeeded", "") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newMountRig()
			tc.change(r)
			r.starts(t).Seen(r.taskRun)
			if diff := cmp.Diff(tc.want, r.queue.later); diff != "" || len(r.queue.keys) > 0 {
				t.Errorf("queue %v, later (-want +got):\n%s", r.queue.keys, diff)
			}
		})
	}
}

// TestStartsSeenLeftovers: a TaskRun that waits for long is examined also if the settings ask for no volume any more:
// its pod is of the backend from before.
func TestStartsSeenLeftovers(t *testing.T) {
	for name, change := range map[string]func(*mountRig){
		"another backend": func(r *mountRig) { r.drivers = nil },
		"none":            func(r *mountRig) { r.drivers, r.unwanted = nil, true },
		"out of scope":    func(r *mountRig) { r.unwanted = true },
	} {
		r := newMountRig()
		change(r)
		r.now = r.now.Add(2 * mountPatience)
		r.starts(t).Seen(r.taskRun)
		if len(r.queue.keys) != 1 {
			t.Errorf("%s: queue %v", name, r.queue.keys)
		}
	}
}

// TestMountEndsUnreadable: a node that cannot be read keeps only the exceptions because of it, and an exception of one
// TaskRun ends in any case.
func TestMountEndsUnreadable(t *testing.T) {
	now := time.Now()
	entry := func(namespace, node string, source delivery.Source) delivery.Entry {
		return delivery.Entry{Namespace: namespace, Source: source, Exception: delivery.Exception{
			Delivery: delivery.None, Since: now.Add(-mountHolds), Node: node,
		}}
	}
	client := fake.NewClientset(nodeWithDriver("node-1", mountDriver))
	client.PrependReactor("get", "csinodes", func(action k8stesting.Action) (bool, runtime.Object, error) {
		if action.(k8stesting.GetAction).GetName() == "bad" {
			return true, nil, errors.New("no answer")
		}
		return false, nil, nil
	})
	var got []string
	m := NewMountEnds(MountEndsConfig{
		Client: client, Drivers: func() []string { return []string{mountDriver} }, Takes: func(string) bool { return true },
		Entries: func() []delivery.Entry {
			return []delivery.Entry{entry("a", "bad", delivery.Mount), entry("b", "bad", delivery.Mount),
				entry("c", "node-1", delivery.Mount), entry("d", "bad", delivery.Once)}
		},
		Clear:    func(_ context.Context, e delivery.Entry) error { got = append(got, e.Namespace); return nil },
		Recorder: record.NewFakeRecorder(10), Now: func() time.Time { return now }, Log: zap.NewNop().Sugar(),
	})
	if err := m.End(t.Context()); err == nil {
		t.Error("the node that cannot be read is not reported")
	}
	if diff := cmp.Diff([]string{"c", "d"}, got); diff != "" || len(client.Actions()) != 2 {
		t.Errorf("%d reads; ended (-want +got):\n%s", len(client.Actions()), diff)
	}
}

// TestMountEnds: pods of a namespace get the signer again when the node mounts volumes again, or takes no pods.
func TestMountEnds(t *testing.T) {
	now := time.Now()
	entry := func(namespace string, source delivery.Source, age time.Duration) delivery.Entry {
		return delivery.Entry{Namespace: namespace, Source: source, Exception: delivery.Exception{
			Delivery: delivery.None, Reason: "r", Since: now.Add(-age), Node: "node-1",
		}}
	}
	entries := []delivery.Entry{
		entry("held", delivery.Mount, mountHolds), entry("recent", delivery.Mount, mountHolds-time.Second),
		entry("start", delivery.Start, time.Hour), entry("twice", delivery.Mount, time.Hour),
	}
	for name, tc := range map[string]struct {
		node    *storagev1.CSINode
		takes   bool
		drivers []string
		want    []string
	}{
		"it mounts": {nodeWithDriver("node-1", "other", mountDriver), true, []string{mountDriver},
			[]string{"held", "twice"}},
		"no driver":        {nodeWithDriver("node-1", "other"), true, []string{mountDriver}, nil},
		"no CSINode":       {nodeWithDriver("node-2", mountDriver), true, []string{mountDriver}, nil},
		"cordoned or gone": {nodeWithDriver("node-1"), false, []string{mountDriver}, []string{"held", "twice"}},
		"another backend":  {nodeWithDriver("node-1"), true, nil, []string{"held", "recent", "twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, recorder := fake.NewClientset(tc.node), record.NewFakeRecorder(10)
			var got []string
			m := NewMountEnds(MountEndsConfig{
				Client: client, Drivers: func() []string { return tc.drivers }, Takes: func(string) bool { return tc.takes },
				Entries:  func() []delivery.Entry { return entries },
				Clear:    func(_ context.Context, e delivery.Entry) error { got = append(got, e.Namespace); return nil },
				Recorder: recorder, Now: func() time.Time { return now }, Log: zap.NewNop().Sugar(),
			})
			if err := m.End(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || len(recorder.Events) != len(tc.want) {
				t.Errorf("%d events; ended (-want +got):\n%s", len(recorder.Events), diff)
			}
			if n := len(client.Actions()); n > 1 {
				t.Errorf("one node was read %d times", n)
			}
		})
	}
}

// TestDeliveryTakes: a node that is cordoned or does not answer takes no pods.
func TestDeliveryTakes(t *testing.T) {
	node := func(name string, spec corev1.NodeSpec) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	}
	tainted := func(key string) corev1.NodeSpec {
		return corev1.NodeSpec{Taints: []corev1.Taint{{Key: key, Effect: corev1.TaintEffectNoSchedule}}}
	}
	d := NewDelivery(fake.NewClientset(
		node("well", corev1.NodeSpec{}), node("cordoned", corev1.NodeSpec{Unschedulable: true}),
		node("silent", tainted(corev1.TaintNodeUnreachable)), node("builds", tainted("example.com/builds")),
	), zap.NewNop().Sugar())
	go d.Run(t.Context())
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return d.HasSynced(), nil })
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"well": true, "cordoned": false, "silent": false, "builds": true, "gone": false,
	} {
		if got := d.Takes(name); got != want {
			t.Errorf("%s: got %t, want %t", name, got, want)
		}
	}
}
