// SPDX-License-Identifier: Apache-2.0

// Package enabletest makes the parts of fake clusters that tests of package enable, and of packages above it, have in
// common.
package enabletest

import (
	"context"
	"io"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kubefake "k8s.io/client-go/kubernetes/fake"
	restclient "k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// TektonController returns the Deployment by which Tekton is found.
func TektonController(namespace string) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "tekton-pipelines-controller",
		Labels: map[string]string{
			"app.kubernetes.io/part-of": "tekton-pipelines", "app.kubernetes.io/component": "controller",
			"app.kubernetes.io/version": "v1.15.0",
		},
	}}
	d.Spec.Template.Spec.ServiceAccountName = "the-controller"
	return d
}

// StatefulTekton returns the controller as Tekton's operator runs it with several replicas.
func StatefulTekton(namespace string, replicas int32) *appsv1.StatefulSet {
	d := TektonController(namespace)
	return &appsv1.StatefulSet{
		ObjectMeta: d.ObjectMeta, Spec: appsv1.StatefulSetSpec{Template: d.Spec.Template, Replicas: &replicas},
	}
}

// TektonPod returns a pod of the controller, in a workload of an unknown kind.
func TektonPod(namespace, name string) *corev1.Pod {
	d := TektonController(namespace)
	d.Name = name
	return &corev1.Pod{ObjectMeta: d.ObjectMeta, Spec: d.Spec.Template.Spec}
}

// Tenant returns another controller of Tekton, in namespace b.
func Tenant(args ...string) *appsv1.Deployment {
	d := TektonController("b")
	d.Spec.Template.Spec.ServiceAccountName = "tenants"
	d.Spec.Template.Spec.Containers = []corev1.Container{{Args: args}}
	return d
}

// Namespace returns a namespace with labels, and with the label that every namespace has.
func Namespace(name string, labels map[string]string) *corev1.Namespace {
	all := map[string]string{corev1.LabelMetadataName: name}
	maps.Copy(all, labels)
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name), Labels: all}}
}

// Grant returns the token grant that this version gives a namespace with the backend that signs with tokens.
func Grant(namespace string) *rbacv1.RoleBinding {
	fence, err := manifests.FenceVersion()
	if err != nil {
		panic(err) // the manifests are embedded
	}
	all := backends.Enabled()
	tokens := slices.IndexFunc(all, func(d backends.Descriptor) bool { return d.Tokens })
	return manifests.Grant(all[tokens].Name, namespace, fence)
}

// Answer makes the add-on's port answer with an error, or without one, when the API server is asked to call it.
func Answer(client *kubefake.Clientset, answer func() error) {
	client.ProxyReactionChain = []clienttesting.ProxyReactor{&clienttesting.SimpleProxyReactor{
		Resource: "services", Reaction: func(clienttesting.Action) (bool, restclient.ResponseWrapper, error) {
			return true, portAnswer{answer()}, nil
		},
	}}
}

// PortClosed returns the answer of an API server that does not reach the add-on.
func PortClosed(why string) error {
	return apierrors.NewServiceUnavailable("error trying to reach service: " + why)
}

// portAnswer is the answer of the add-on's port through the API server.
type portAnswer struct{ err error }

func (a portAnswer) DoRaw(context.Context) ([]byte, error)         { return nil, a.err }
func (a portAnswer) Stream(context.Context) (io.ReadCloser, error) { return nil, a.err }
