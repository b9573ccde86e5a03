// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

const signerImage = "reg.example/signer:v1"

// startingRun is a TaskRun with Tekton's condition about its pod.
func startingRun(status, reason, message string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "tekton.dev/v1", "kind": "TaskRun",
		"metadata": map[string]any{
			"namespace": "ci", "name": "build", "uid": "u", "creationTimestamp": time.Now().UTC().Format(time.RFC3339),
		},
		"status": map[string]any{
			"podName": "build-pod", "completionTime": time.Now().UTC().Format(time.RFC3339),
			"conditions": []any{map[string]any{"type": "Succeeded", "status": status, "reason": reason, "message": message}},
		},
	}}
}

// startingPod is its pod, which has the signer by an init container that waits.
func startingPod(image, container, reason, message string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ci", Name: "build-pod", UID: "p",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: "build", UID: "u",
				Controller: new(true)}},
		},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: delivery.InitContainer, Image: image}}},
		Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason,
				Message: message}},
		}}},
	}
}

// TestStarts: the first pod that does not start because of the signer is the last one of an audited namespace, and is
// told of; it is deleted once nobody gives its successor the signer. Every other pod is left to itself.
func TestStarts(t *testing.T) {
	pulling := startingRun("Unknown", "PullImageFailed", `pod status "Initialized":"False"`)
	stuck := startingPod(signerImage, delivery.InitContainer, "ErrImagePull", "401 Unauthorized")
	told := delivery.Exception{Delivery: delivery.None, Reason: "ErrImagePull: 401 Unauthorized"}
	for name, tc := range map[string]struct {
		taskRun            *unstructured.Unstructured
		pod                *corev1.Pod
		enforced, unwanted bool
		stopped            bool
		seen               bool
		want               delivery.Exception
		event              string
		deleted            bool
	}{
		"first failure": {taskRun: pulling, pod: stuck, seen: true, want: told,
			event: "TaskRuns of this namespace run unsigned from now on"},
		"enforced": {taskRun: pulling, pod: stuck, enforced: true, seen: true,
			event: "no TaskRun starts until this is fixed"},
		"failed, and its pod is gone": {
			taskRun: startingRun("False", "TaskRunImagePullFailed",
				`failed to pull the image "": Back-off pulling image "`+signerImage+`"`), seen: true,
			want: delivery.Exception{Delivery: delivery.None,
				Reason: `TaskRunImagePullFailed: failed to pull the image "": Back-off pulling image "` + signerImage + `"`},
			event: "TaskRunImagePullFailed",
		},
		"a volume that does not mount": {
			taskRun: startingRun("Unknown", "Pending", `build step "step-a" is pending with reason "failed to mount"`),
			pod:     startingPod(signerImage, delivery.InitContainer, "CreateContainerError", "x"), seen: true,
			want:  delivery.Exception{Delivery: delivery.None, Reason: "CreateContainerError: x"},
			event: "CreateContainerError: x",
		},
		"stopped before": {taskRun: pulling, pod: stuck, stopped: true, seen: true, deleted: true},
		"stopped before, and failed since": {
			taskRun: startingRun("False", "TaskRunImagePullFailed", ""), pod: stuck, stopped: true, seen: true,
		},
		"stopped before, and its own image": {
			taskRun: pulling, pod: startingPod(signerImage, "prepare", "ErrImagePull", "x"), stopped: true, seen: true,
		},
		"out of scope":        {taskRun: pulling, pod: stuck, unwanted: true},
		"an image of its own": {taskRun: pulling, pod: startingPod(signerImage, "prepare", "ErrImagePull", "x"), seen: true},
		"a signer of before": {taskRun: pulling, pod: startingPod("reg.example/signer:v0", delivery.InitContainer,
			"ErrImagePull", "x"), seen: true},
		"starting": {taskRun: startingRun("Unknown", "Pending", `pod status "Initialized":"False"`),
			pod: startingPod(signerImage, delivery.InitContainer, "PodInitializing", "")},
		"failed long ago": {taskRun: func() *unstructured.Unstructured {
			tr := startingRun("False", "TaskRunImagePullFailed", signerImage)
			//nolint:forcetypeassert // made above
			tr.Object["status"].(map[string]any)["completionTime"] = "2026-01-02T03:04:05Z"
			return tr
		}()},
		"running":                  {taskRun: startingRun("Unknown", "Running", ""), pod: stuck},
		"succeeded":                {taskRun: startingRun("True", "Succeeded", ""), pod: stuck},
		"failed for another fault": {taskRun: startingRun("False", "TaskRunImagePullFailed", "busybox"), seen: true},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if tc.pod != nil {
				client = fake.NewClientset(tc.pod)
			}
			recorder := record.NewFakeRecorder(10)
			var got delivery.Exception
			var counted []bool
			s := NewStarts(StartsConfig{
				Client: client, Image: signerImage,
				Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
					map[schema.GroupVersionResource]string{tektonResource(TaskRuns): "TaskRunList"}, tc.taskRun),
				Wanted:   func(string) bool { return !tc.unwanted },
				Enforced: func(string) bool { return tc.enforced },
				Stopped:  func(string, types.UID) bool { return tc.stopped },
				Drivers:  func() []string { return nil }, Nodes: func() []string { return nil },
				Stop: func(_ context.Context, namespace string, source delivery.Source, e delivery.Exception) error {
					if namespace != "ci" || source != delivery.Start {
						t.Errorf("namespace %s was stopped by %s", namespace, source)
					}
					got = e
					return nil
				},
				OnStuck: func(stopped bool) { counted = append(counted, stopped) }, Recorder: recorder, Now: time.Now,
				Log: zap.NewNop().Sugar(),
			})
			var queue laterKeys
			s.Start(t.Context(), &queue, func(context.Context) {})
			if err := s.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
				t.Fatal(err)
			}
			s.Seen(tc.taskRun)
			if seen := len(queue.keys) > 0; seen != tc.seen {
				t.Errorf("put into the queue: got %t, want %t", seen, tc.seen)
			}
			err := s.Reconcile(t.Context(), "ci/build")
			if again, _ := controller.IsRequeueKey(err); again != (tc.want != delivery.Exception{}) || err != nil && !again {
				t.Fatal(err)
			}
			if tc.pod != nil {
				_, err = client.CoreV1().Pods("ci").Get(t.Context(), tc.pod.Name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) != tc.deleted {
					t.Errorf("the pod: %v, want it deleted: %t", err, tc.deleted)
				}
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(delivery.Exception{}, "Since")); diff != "" {
				t.Errorf("exception (-want +got):\n%s", diff)
			}
			events, err := client.CoreV1().Events("ci").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var said string
			for _, e := range events.Items {
				said += e.Reason + ": " + e.Message
			}
			if (said == "") != (tc.event == "") || !strings.Contains(said, tc.event) || len(counted) != len(recorder.Events) ||
				(len(counted) == 1) != (tc.event != "") {
				t.Errorf("got event %q, %d of the Deployment, counted %v; want %q", said, len(recorder.Events), counted, tc.event)
			}
			if len(counted) == 1 && counted[0] == tc.enforced {
				t.Errorf("counted as stopped: %t", counted[0])
			}
		})
	}
}

// keys remembers what was put into the work queue.
type keys []types.NamespacedName

func (k *keys) EnqueueKey(key types.NamespacedName) { *k = append(*k, key) }

// laterKeys remembers also what was put there for later.
type laterKeys struct {
	keys
	later []time.Duration
}

func (k *laterKeys) EnqueueKeyAfter(_ types.NamespacedName, delay time.Duration) {
	k.later = append(k.later, delay)
}
