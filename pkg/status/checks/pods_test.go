// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

const signerImage = "reg.example/signer:v1.2.3"

// waiting returns the pod of a TaskRun with the signer, in which one container waits.
func waiting(t *testing.T, namespace string, delivery inject.Delivery, container, reason, message string) *corev1.Pod {
	t.Helper()
	pod, err := inject.Pod(inject.Model(namespace, signerImage),
		inject.Options{SignerImage: signerImage, Delivery: delivery, Step: settings.Default().Step()})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodPending
	s := corev1.ContainerStatus{Name: container,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	if strings.HasPrefix(container, "step-") {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
	} else {
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, s)
	}
	return pod
}

// TaskRuns that hang because of the signer are reported with namespace and reason; TaskRuns that hang for another
// reason are not.
func TestStatusSignerImage(t *testing.T) {
	const backOff = `Back-off pulling image "` + signerImage + `": not found`
	stock := func(*testing.T) *corev1.Pod {
		pod := inject.Model("ci", signerImage)
		pod.Status.Phase = corev1.PodPending
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "step-canary", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: signerImage},
		}}}
		return pod
	}
	of := func(namespace string, delivery inject.Delivery, container, reason,
		message string) func(*testing.T) *corev1.Pod {
		return func(t *testing.T) *corev1.Pod { return waiting(t, namespace, delivery, container, reason, message) }
	}
	for name, tc := range map[string]struct {
		pod  func(*testing.T) *corev1.Pod
		want string
	}{
		"an init container": {
			of("ci", inject.DeliveryInit, delivery.InitContainer, "ImagePullBackOff", "no such image"),
			"ImagePullBackOff: no such image",
		},
		"an image volume": {
			of("ci", inject.DeliveryImage, "step-canary", "ImagePullBackOff", backOff), "got ImagePullBackOff: " + backOff,
		},
		"a volume that cannot mount": {
			of("ci", inject.DeliveryImage, "step-canary", "CreateContainerError", "failed to mount tekton-internal-sign"),
			"CreateContainerError",
		},
		"the step's own image": {
			of("ci", inject.DeliveryImage, "step-canary", "ErrImagePull", "tekton-sign.invalid/step: not found"), "",
		},
		"Tekton's own image": {of("ci", inject.DeliveryInit, "prepare", "ErrImagePull", "not found"), ""},
		"still starting":     {of("ci", inject.DeliveryInit, delivery.InitContainer, "PodInitializing", ""), ""},
		"out of scope":       {of("other", inject.DeliveryInit, delivery.InitContainer, "ErrImagePull", "x"), ""},
		"left alone":         {stock, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			in.add(tc.pod(t))
			s := in.status(0)
			got, outcome := amiss(s.Checks), status.Healthy
			if tc.want != "" {
				outcome = status.Broken
			}
			if s.Outcome != outcome || !strings.Contains(got, tc.want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, outcome, tc.want)
			}
			if tc.want != "" && !strings.Contains(got,
				"signer-image Pod ci/tekton-sign-canary-pod: TaskRuns hang, because their pods cannot get the signer: ci (1); : "+
					"expected the signer's image "+signerImage) {
				t.Errorf("want pod, namespace and image in:\n%s", got)
			}
		})
	}
}
