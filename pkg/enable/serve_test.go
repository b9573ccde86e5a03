// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// The add-on is available only when all replicas are, and none is being drained.
func TestAvailable(t *testing.T) {
	two := int32(2)
	status := func(total, updated, available int32) appsv1.DeploymentStatus {
		return appsv1.DeploymentStatus{Replicas: total, UpdatedReplicas: updated, AvailableReplicas: available}
	}
	for name, tt := range map[string]struct {
		status  appsv1.DeploymentStatus
		leaving bool // a replica is being drained
		want    bool
	}{
		"all are there":          {status: status(2, 2, 2), want: true},
		"one is not ready":       {status: status(2, 2, 1)},
		"an old one is left":     {status: status(3, 2, 3)},
		"an old one is drained":  {status: status(2, 2, 2), leaving: true},
		"none of the new is up":  {status: status(2, 0, 2)},
		"the last one to update": {status: status(2, 1, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			labels := map[string]string{manifests.LabelPartOf: manifests.PartOf}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: manifests.Namespace, Name: "replica", Labels: labels, Finalizers: []string{"test"},
			}}
			if tt.leaving {
				now := metav1.Now()
				pod.DeletionTimestamp = &now
			}
			c := Clients{Kube: fake.NewClientset(pod, &appsv1.Deployment{
				ObjectMeta: metav1.ObjectMeta{Namespace: manifests.Namespace, Name: manifests.Controller},
				Spec:       appsv1.DeploymentSpec{Replicas: &two}, Status: tt.status,
			})}
			got, why, err := serving{Clients: c}.addOnAvailable(t.Context())
			if err != nil || got != tt.want || got == (why != "") {
				t.Errorf("expected %v, got %v, %q, %v", tt.want, got, why, err)
			}
		})
	}
}

// Without a namespace in which a pod can be tried, at least the port is tried.
func TestNoNamespaceInScope(t *testing.T) {
	for name, tc := range map[string]struct {
		answer error
		want   string
	}{
		"open":   {nil, ""},
		"closed": {enabletest.PortClosed("dial tcp: connection refused"), "port 8443"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, enabletest.Namespace("kube-system", nil))
			c.reachable(tc.answer)
			plan := Plan{Environment: testEnvironment, Settings: signingOn()}
			done, missing, err := serving{c.Clients, plan}.podInjected(t.Context())
			if err != nil || done != (tc.want == "") || !strings.Contains(missing, tc.want) ||
				done && !strings.Contains(missing, "no namespace is in scope") {
				t.Errorf("got %v, %q and %v, want %q", done, missing, err, tc.want)
			}
		})
	}
}

// Policies of namespaces keep nobody from enabling: a policy that allows only the signer's registry allows the pod,
// and if one refuses the pod, another namespace is tried, or the port.
func TestCanaryAndPolicies(t *testing.T) {
	deny := func(pod *corev1.Pod) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 400,
			Message: `admission webhook "validate.kyverno.svc-fail" denied the request: not in ` + pod.Namespace}}
	}
	onlySigner := func(pod *corev1.Pod) error {
		for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			if container.Image != testSigner {
				return deny(pod)
			}
		}
		return nil
	}
	for name, tc := range map[string]struct {
		refuse func(*corev1.Pod) error
		closed bool
		done   bool
		want   string
	}{
		"no policy":             {func(*corev1.Pod) error { return nil }, false, true, ""},
		"the signer's registry": {onlySigner, false, true, ""},
		"one namespace refuses it": {func(pod *corev1.Pod) error {
			if pod.Namespace == "a" {
				return deny(pod)
			}
			return nil
		}, false, true, ""},
		"all refuse it": {
			deny, false, true, "not tried: namespace b refuses the pod: admission",
		},
		"all refuse it, and a closed port": {deny, true, false, "port 8443"},
		"all have a quota": {func(*corev1.Pod) error {
			return apierrors.NewForbidden(corev1.Resource("pods"), "x", errors.New("exceeded quota: q"))
		}, false, true, "exceeded quota: q"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, enabletest.Namespace("a", nil), enabletest.Namespace("b", nil))
			if tc.closed {
				c.reachable(enabletest.PortClosed("no route to host"))
			}
			c.injecting(signingOn())
			c.kube.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
				pod, _ := a.(clienttesting.CreateAction).GetObject().(*corev1.Pod) //nolint:forcetypeassert // the reactor's verb
				err := tc.refuse(pod)
				return err != nil, nil, err
			})
			plan := Plan{Environment: testEnvironment, Settings: signingOn(), SignerImage: testSigner}
			done, missing, err := serving{c.Clients, plan}.podInjected(t.Context())
			if err != nil || done != tc.done || !strings.Contains(missing, tc.want) || (tc.want == "") != (missing == "") {
				t.Errorf("got %v, %q and %v, want %v and %q", done, missing, err, tc.done, tc.want)
			}
		})
	}
}
