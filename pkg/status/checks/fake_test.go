// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// installed is everything that a cluster with signing on shows, for tests to spoil.
type installed struct {
	t       *testing.T
	objects []runtime.Object
	runs    []*unstructured.Unstructured
	now     time.Time
	spoil   func(*fakeCluster) // of the clients
}

// newInstalled is a cluster in which all is well: namespaces ci and release are in scope, release has the mode enforce.
func newInstalled(t *testing.T, change func(*settings.Settings)) *installed {
	t.Helper()
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	s.Scope.Names = []string{"ci", "release"}
	if change != nil {
		change(&s)
	}
	objects, err := manifests.Render(manifests.Options{
		TektonNamespace: testEnvironment.TektonNamespace, TektonAccount: "the-controller",
		Registry: "reg.example", Version: "v1.2.3", Settings: s,
	})
	if err != nil {
		t.Fatal(err)
	}
	in := &installed{t: t, objects: objects, now: time.Now().UTC().Truncate(time.Second).Add(2 * time.Second)} // certificates are valid from now on
	in.serving()
	in.add(
		tektonController(testEnvironment.TektonNamespace),
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: testEnvironment.TektonNamespace, Name: "feature-flags"},
			Data:       map[string]string{"enforce-nonfalsifiability": "none", "enable-wait-exponential-backoff": "true"},
		},
		namespaceWith("kube-system", nil), namespaceWith("ci", nil), namespaceWith("other", nil),
		namespaceWith("release", map[string]string{settings.LabelEnforcement: "enforce"}),
		grantOf("ci"), grantOf("release"),
	)
	return in
}

// grantOf is the grant that this version gives a namespace.
func grantOf(namespace string) *rbacv1.RoleBinding {
	fence, err := manifests.FenceVersion()
	if err != nil {
		panic(err)
	}
	return manifests.Grant(namespace, fence)
}

func namespaceWith(name string, labels map[string]string) *corev1.Namespace {
	all := map[string]string{corev1.LabelMetadataName: name}
	for key, value := range labels {
		all[key] = value
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name), Labels: all}}
}

// serving does what the add-on does.
func (in *installed) serving() {
	in.t.Helper()
	key, certificate, authority, err := certresources.CreateCerts(context.Background(), manifests.Controller, manifests.Namespace, in.now.Add(7*24*time.Hour))
	if err != nil {
		in.t.Fatal(err)
	}
	for _, object := range in.objects {
		switch o := object.(type) {
		case *admissionv1.MutatingWebhookConfiguration:
			for i := range o.Webhooks {
				o.Webhooks[i].ClientConfig.CABundle = authority
			}
		case *corev1.Secret:
			o.Data = map[string][]byte{
				certresources.ServerKey: key, certresources.ServerCert: certificate, certresources.CACert: authority,
			}
		case *appsv1.Deployment:
			n := *o.Spec.Replicas
			o.Status = appsv1.DeploymentStatus{Replicas: n, UpdatedReplicas: n, AvailableReplicas: n}
		}
	}
	holder, renewed := "tekton-sign-controller-1", metav1.NewMicroTime(in.now.Add(-3*time.Second))
	for _, name := range []string{manifests.Controller, manifests.Keeper} {
		in.add(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: manifests.Namespace, Name: name,
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "controller", Time: new(metav1.NewTime(renewed.Truncate(time.Second)))}},
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &renewed},
		})
	}
	in.add(in.trustHistory(in.now.Add(-10 * time.Minute)))
}

func (in *installed) trustHistory(seen time.Time) *corev1.ConfigMap {
	in.t.Helper()
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		in.t.Fatal(err)
	}
	live, err := cluster.Trust()
	if err != nil {
		in.t.Fatal(err)
	}
	h := trust.History{}
	if err := h.Observe(live, seen); err != nil {
		in.t.Fatal(err)
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: manifests.Namespace, Name: trust.HistoryName(1), Labels: map[string]string{manifests.LabelPartOf: manifests.PartOf},
			Annotations: map[string]string{trust.AnnotationCluster: "uid-of-kube-system"},
		},
		Data: map[string]string{},
	}
	for key, sightings := range h {
		if cm.Data[key], err = trust.EncodeEntry(sightings); err != nil {
			in.t.Fatal(err)
		}
	}
	return cm
}

func (in *installed) add(objects ...runtime.Object) { in.objects = append(in.objects, objects...) }

// get returns the object of type T called name.
func get[T runtime.Object](in *installed, name string) T {
	in.t.Helper()
	for _, object := range in.objects {
		if typed, ok := object.(T); ok && nameOfTyped(object) == name {
			return typed
		}
	}
	var none T
	in.t.Fatalf("no %T called %s", none, name)
	return none
}

func nameOfTyped(object runtime.Object) string {
	m, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return m.GetName()
}

// drop deletes the object of type T called name.
func drop[T runtime.Object](in *installed, name string) {
	in.t.Helper()
	gone := runtime.Object(get[T](in, name))
	in.objects = slices.DeleteFunc(in.objects, func(o runtime.Object) bool { return o == gone })
}

// status looks at the cluster as it is now.
func (in *installed) status(verdicts int) *status.Status {
	in.t.Helper()
	found, err := GetStatus(in.t.Context(), in.clients(), StatusOptions{
		Program: "kubectl tekton-sign", Version: "v1.2.3", Verdicts: verdicts, Now: func() time.Time { return in.now },
	})
	if err != nil {
		in.t.Fatal(err)
	}
	return found
}

// clients returns fake clients that both have every object.
func (in *installed) clients() Clients {
	in.t.Helper()
	var untyped []runtime.Object
	for _, object := range in.objects {
		gvks, _, err := scheme.Scheme.ObjectKinds(object)
		if err != nil {
			in.t.Fatal(err)
		}
		object.GetObjectKind().SetGroupVersionKind(gvks[0])
		u, err := toUnstructured(object)
		if err != nil {
			in.t.Fatal(err)
		}
		untyped = append(untyped, u)
	}
	for _, run := range in.runs {
		untyped = append(untyped, run)
	}
	lists := map[schema.GroupVersionResource]string{taskRuns(): "TaskRunList"}
	for _, kind := range removalOrder() {
		like := &unstructured.Unstructured{}
		like.SetGroupVersionKind(kind)
		lists[gvrOf(like)] = kind.Kind + "List"
	}
	c := &fakeCluster{
		kube: kubefake.NewClientset(in.objects...), dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, untyped...),
	}
	c.kube.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.35.4"} //nolint:forcetypeassert // a fake
	c.reachable(nil)
	if in.spoil != nil {
		in.spoil(c)
	}
	return Clients{Kube: c.kube, Dynamic: c.dynamic}
}
