// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

const testSigner = "reg.example/signer:v1.2.3"

// waiting is a pod of a TaskRun as the add-on leaves it, one container of which waits.
func waiting(t *testing.T, namespace string, delivery inject.Delivery, container, reason, message string) *corev1.Pod {
	t.Helper()
	pod, err := inject.Pod(canaryPod(namespace, testSigner), inject.Options{SignerImage: testSigner, Delivery: delivery, Step: settings.Default().Step()})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodPending
	s := corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	if strings.HasPrefix(container, "step-") {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
	} else {
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, s)
	}
	return pod
}

// TestStatusSignerImage: TaskRuns that hang because of us are named with namespace and reason; those that hang for a reason of their
// own are not.
func TestStatusSignerImage(t *testing.T) {
	const backOff = `Back-off pulling image "` + testSigner + `": not found`
	stock := func(*testing.T) *corev1.Pod {
		pod := canaryPod("ci", testSigner)
		pod.Status.Phase = corev1.PodPending
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "step-canary", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: testSigner},
		}}}
		return pod
	}
	of := func(namespace string, delivery inject.Delivery, container, reason, message string) func(*testing.T) *corev1.Pod {
		return func(t *testing.T) *corev1.Pod { return waiting(t, namespace, delivery, container, reason, message) }
	}
	for name, tc := range map[string]struct {
		pod  func(*testing.T) *corev1.Pod
		want string
	}{
		"an init container":          {of("ci", inject.DeliveryInit, delivery.InitContainer, "ImagePullBackOff", "no such image"), "ImagePullBackOff: no such image"},
		"an image volume":            {of("ci", inject.DeliveryImage, "step-canary", "ImagePullBackOff", backOff), "got ImagePullBackOff: " + backOff},
		"a volume that cannot mount": {of("ci", inject.DeliveryImage, "step-canary", "CreateContainerError", "failed to mount tekton-internal-sign"), "CreateContainerError"},
		"the step's own image":       {of("ci", inject.DeliveryImage, "step-canary", "ErrImagePull", "tekton-sign.invalid/step: not found"), ""},
		"Tekton's own image":         {of("ci", inject.DeliveryInit, "prepare", "ErrImagePull", "not found"), ""},
		"still starting":             {of("ci", inject.DeliveryInit, delivery.InitContainer, "PodInitializing", ""), ""},
		"out of scope":               {of("other", inject.DeliveryInit, delivery.InitContainer, "ErrImagePull", "x"), ""},
		"left alone":                 {stock, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			in.add(tc.pod(t))
			s := in.status(0)
			got, outcome := amiss(s), status.Healthy
			if tc.want != "" {
				outcome = status.Broken
			}
			if s.Outcome != outcome || !strings.Contains(got, tc.want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, outcome, tc.want)
			}
			if tc.want != "" && !strings.Contains(got, "signer-image Pod ci/tekton-sign-canary-pod: TaskRuns hang, because their pods cannot get the signer: ci (1); : expected the signer's image "+testSigner) {
				t.Errorf("want pod, namespace and image in:\n%s", got)
			}
		})
	}
}
