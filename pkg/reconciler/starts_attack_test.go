// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
)

// startsRig is the reconciler with one TaskRun and its pod.
func startsRig(t *testing.T, taskRun *unstructured.Unstructured, pod *corev1.Pod, stopped bool) (s *Starts,
	client *fake.Clientset, stops *int) {
	t.Helper()
	client, stops = fake.NewClientset(pod), new(int)
	s = NewStarts(StartsConfig{
		Client: client, Image: signerImage,
		Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{tektonResource(TaskRuns): "TaskRunList"}, taskRun),
		Wanted: func(string) bool { return true }, Enforced: func(string) bool { return false },
		Stopped: func(string, types.UID) bool { return stopped },
		Stop:    func(context.Context, string, delivery.Source, delivery.Exception) error { *stops++; return nil },
		Drivers: func() []string { return nil }, Nodes: func() []string { return nil },
		OnStuck: func(bool) {}, Recorder: record.NewFakeRecorder(10), Now: time.Now, Log: zap.NewNop().Sugar(),
	})
	s.Start(t.Context(), controller.NewContext(t.Context(), s, controller.ControllerOptions{WorkQueueName: t.Name(),
		Logger: zap.NewNop().Sugar()}), func(context.Context) {})
	if err := s.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
		t.Fatal(err)
	}
	return s, client, stops
}

// TestStartsOneHiccup: the kubelet tries again after ten seconds. One attempt that fails (a node that has just
// joined, a registry that is asked too often, a full disk that another namespace filled) does not have a namespace
// run unsigned until an administrator acts; where the TaskRun waits, so can the add-on.
func TestStartsOneHiccup(t *testing.T) {
	pod := startingPod(signerImage, delivery.InitContainer, "ErrImagePull", "net/http: TLS handshake timeout")
	pod.CreationTimestamp = metav1.Now()
	s, _, stops := startsRig(t, startingRun("Unknown", "PullImageFailed", ""), pod, false)
	_ = s.Reconcile(t.Context(), "ci/build")
	if *stops != 0 {
		t.Error("the namespace runs unsigned from the first attempt on, for good")
	}
}

// TestStartsForeignPod: status.podName is what somebody who may write the status says. A pod of another TaskRun
// proves nothing of this one, and is not deleted for it.
func TestStartsForeignPod(t *testing.T) {
	pod := startingPod(signerImage, delivery.InitContainer, "ErrImagePull", "401")
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: "other",
		UID: "another", Controller: new(true)}}
	s, client, _ := startsRig(t, startingRun("Unknown", "PullImageFailed", ""), pod, true)
	if err := s.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("ci").Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the pod of another TaskRun was deleted: %v", err)
	}
}

// TestStartsOnANewNode: a pod that waited for its node, as where nodes are added when they are needed, is older
// than its first pull.
func TestStartsOnANewNode(t *testing.T) {
	pod := startingPod(signerImage, delivery.InitContainer, "ErrImagePull", "net/http: TLS handshake timeout")
	pod.CreationTimestamp = metav1.NewTime(time.Now().Add(-2 * time.Minute))
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue,
		LastTransitionTime: metav1.Now()}}
	s, _, stops := startsRig(t, startingRun("Unknown", "PullImageFailed", ""), pod, false)
	_ = s.Reconcile(t.Context(), "ci/build")
	if *stops != 0 {
		t.Error("the namespace runs unsigned from the first attempt on")
	}
}
