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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// tektonNamespace is where Tekton is: not in the namespace of its releases.
const tektonNamespace = "openshift-pipelines"

// installed has the objects of a cluster in which signing is on. Tests change one of them.
type installed struct {
	t       *testing.T
	objects []runtime.Object
	runs    []*unstructured.Unstructured
	now     time.Time
	spoil   func(fakeClients) // changes the clients
}

// newInstalled returns a cluster in which everything is in order: namespaces ci and release are in scope, and release
// has the mode enforce.
func newInstalled(t *testing.T, change func(*settings.Settings)) *installed {
	t.Helper()
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	s.Scope.Names = []string{"ci", "release"}
	if change != nil {
		change(&s)
	}
	objects, err := manifests.Render(manifests.Options{
		TektonNamespace: tektonNamespace, TektonAccount: "the-controller",
		Registry: "reg.example", Version: "v1.2.3", Settings: s,
	})
	if err != nil {
		t.Fatal(err)
	}
	// Certificates are valid from now on.
	in := &installed{t: t, objects: objects, now: time.Now().UTC().Truncate(time.Second).Add(2 * time.Second)}
	in.serving()
	in.add(
		enabletest.TektonController(tektonNamespace),
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: tektonNamespace, Name: "feature-flags"},
			Data:       map[string]string{"enforce-nonfalsifiability": "none", "enable-wait-exponential-backoff": "true"},
		},
		enabletest.Namespace("kube-system", nil), enabletest.Namespace("ci", nil), enabletest.Namespace("other", nil),
		enabletest.Namespace("release", map[string]string{settings.LabelEnforcement: "enforce"}),
		enabletest.Grant("ci"), enabletest.Grant("release"),
	)
	return in
}

// serving writes what the add-on writes into an installation.
func (in *installed) serving() {
	in.t.Helper()
	key, certificate, authority, err := certresources.CreateCerts(context.Background(),
		manifests.Controller, manifests.Namespace, in.now.Add(7*24*time.Hour))
	if err != nil {
		in.t.Fatal(err)
	}
	for _, typed := range in.objects {
		switch o := typed.(type) {
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
				ManagedFields: []metav1.ManagedFieldsEntry{
					{Manager: "controller", Time: new(metav1.NewTime(renewed.Truncate(time.Second)))},
				},
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
			Namespace: manifests.Namespace, Name: trust.HistoryName(1),
			Labels:      map[string]string{manifests.LabelPartOf: manifests.PartOf},
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
	for _, candidate := range in.objects {
		if typed, ok := candidate.(T); ok && nameOfTyped(candidate) == name {
			return typed
		}
	}
	var none T
	in.t.Fatalf("no %T called %s", none, name)
	return none
}

func nameOfTyped(typed runtime.Object) string {
	m, err := meta.Accessor(typed)
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

// status returns the status of the cluster as it is now.
func (in *installed) status(verdicts int) *status.Status {
	in.t.Helper()
	found, err := Status(in.t.Context(), in.clients(), Options{
		Program: "kubectl tekton-sign", Version: "v1.2.3", Verdicts: verdicts, Now: in.clock,
	})
	if err != nil {
		in.t.Fatal(err)
	}
	return found
}

func (in *installed) clock() time.Time { return in.now }

// read returns what checkers share of the cluster as it is now.
func (in *installed) read() *Cluster {
	in.t.Helper()
	c, err := Read(in.t.Context(), in.clients(), Options{Program: "kubectl tekton-sign", Version: "v1.2.3", Now: in.clock})
	if err != nil {
		in.t.Fatal(err)
	}
	return c
}

// fakeClients are the clients of a fake cluster.
type fakeClients struct {
	kube    *kubefake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
}

// answer makes the add-on's port answer with an error, or without one.
func (c fakeClients) answer(err error) { enabletest.Answer(c.kube, func() error { return err }) }

// clients returns fake clients that both have every object.
func (in *installed) clients() enable.Clients {
	in.t.Helper()
	var untyped []runtime.Object
	for _, typed := range in.objects {
		gvks, _, err := scheme.Scheme.ObjectKinds(typed)
		if err != nil {
			in.t.Fatal(err)
		}
		typed.GetObjectKind().SetGroupVersionKind(gvks[0])
		u, err := object.From(typed)
		if err != nil {
			in.t.Fatal(err)
		}
		untyped = append(untyped, u)
	}
	for _, run := range in.runs {
		untyped = append(untyped, run)
	}
	lists := map[schema.GroupVersionResource]string{taskRuns(): "TaskRunList"}
	for _, kind := range enable.RemovedKinds() {
		lists[object.GVR(object.Named(kind, "", ""))] = kind.Kind + "List"
	}
	c := fakeClients{
		kube:    kubefake.NewClientset(in.objects...),
		dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, untyped...),
	}
	discovery, ok := c.kube.Discovery().(*fakediscovery.FakeDiscovery)
	if !ok {
		in.t.Fatal("unexpected kind of discovery client")
	}
	discovery.FakedServerVersion = &version.Info{GitVersion: "v1.35.4"}
	c.answer(nil)
	if in.spoil != nil {
		in.spoil(c)
	}
	return enable.Clients{Kube: c.kube, Dynamic: c.dynamic}
}
