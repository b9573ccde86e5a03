// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// testEnvironment is a cluster in which Tekton is not in the namespace of its releases.
var testEnvironment = Environment{
	KubernetesVersion: "v1.35.4", TektonNamespace: "openshift-pipelines", TektonVersion: "v1.15.0", OthersSeen: true,
}

// testSigner is the image of the signer in a plan of testRequest.
const testSigner = "reg.example/signer:v1.2.3"

func testRequest() Request {
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	return Request{Settings: s, Keep: []string{settings.KeyExemptAccounts}, Registry: "reg.example", Version: "v1.2.3"}
}

// fakeCluster is a cluster whose dynamic client has server-side apply and dry runs, as far as plans need them.
type fakeCluster struct {
	Clients
	kube    *kubefake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
	writes  []string // what was changed for good, in order: verb, kind and name
}

func newFakeCluster(t *testing.T, kube ...runtime.Object) *fakeCluster {
	t.Helper()
	known := runtime.NewScheme()
	if err := scheme.AddToScheme(known); err != nil {
		t.Fatal(err)
	}
	for _, kind := range backends.Kinds() {
		known.AddKnownTypeWithName(kind, &unstructured.Unstructured{})
		known.AddKnownTypeWithName(kind.GroupVersion().WithKind(kind.Kind+"List"), &unstructured.UnstructuredList{})
	}
	c := &fakeCluster{kube: kubefake.NewClientset(kube...), dynamic: dynamicfake.NewSimpleDynamicClient(known)}
	c.Clients = Clients{Kube: c.kube, Dynamic: c.dynamic}
	c.dynamic.PrependReactor("patch", "*", c.apply)
	c.dynamic.PrependReactor("update", "*", c.update)
	c.dynamic.PrependReactor("delete", "*", c.remove)
	c.reachable(apierrors.NewNotFound(schema.GroupResource{}, "/"))
	discovery, ok := c.kube.Discovery().(*fakediscovery.FakeDiscovery)
	if !ok {
		t.Fatal("unexpected kind of discovery client")
	}
	discovery.FakedServerVersion = &version.Info{GitVersion: "v1.35.4"}
	discovery.Resources = []*metav1.APIResourceList{{
		GroupVersion: "admissionregistration.k8s.io/v1",
		APIResources: []metav1.APIResource{{Kind: "ValidatingAdmissionPolicy"}},
	}}
	return c
}

// apply merges what is applied into what is there. Lists are replaced.
func (c *fakeCluster) apply(action clienttesting.Action) (bool, runtime.Object, error) {
	patch, ok := action.(clienttesting.PatchActionImpl)
	if !ok {
		return false, nil, nil
	}
	applied := &unstructured.Unstructured{}
	if err := applied.UnmarshalJSON(patch.Patch); err != nil {
		return true, nil, err
	}
	tracker := c.dynamic.Tracker()
	live, err := tracker.Get(patch.Resource, patch.Namespace, patch.Name)
	exists := err == nil
	if exists {
		merged := live.DeepCopyObject().(*unstructured.Unstructured) //nolint:forcetypeassert // the tracker's only type
		merge(merged.Object, applied.Object)
		applied = merged
	}
	if len(patch.PatchOptions.DryRun) > 0 {
		return true, applied, nil
	}
	c.writes = append(c.writes, "apply "+object.Describe(applied))
	if exists {
		return true, applied, tracker.Update(patch.Resource, applied, patch.Namespace)
	}
	applied.SetResourceVersion("1")
	return true, applied, tracker.Create(patch.Resource, applied, patch.Namespace)
}

func merge(into, from map[string]any) {
	for key, value := range from {
		below, isMap := value.(map[string]any)
		target, wasMap := into[key].(map[string]any)
		if isMap && wasMap {
			merge(target, below)
			continue
		}
		into[key] = value
	}
}

func (c *fakeCluster) update(action clienttesting.Action) (bool, runtime.Object, error) {
	update, ok := action.(clienttesting.UpdateActionImpl)
	if !ok {
		return false, nil, nil
	}
	if len(update.UpdateOptions.DryRun) > 0 {
		return true, update.Object, nil
	}
	if u, ok := update.Object.(*unstructured.Unstructured); ok {
		c.writes = append(c.writes, "update "+object.Describe(u))
	}
	return false, nil, nil
}

func (c *fakeCluster) remove(action clienttesting.Action) (bool, runtime.Object, error) {
	remove, ok := action.(clienttesting.DeleteActionImpl)
	if !ok {
		return false, nil, nil
	}
	if len(remove.DeleteOptions.DryRun) > 0 {
		return true, nil, nil
	}
	c.writes = append(c.writes, "delete "+remove.Resource.Resource+" "+remove.Name)
	return false, nil, nil
}

// install makes every change of a plan without waiting for anything.
func install(t *testing.T, c *fakeCluster, plan Plan) {
	t.Helper()
	for _, change := range plan.Changes {
		if err := (writer{Clients: c.Clients, progress: silent}).make(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
}

func silent(string, ...any) {}

// reachable makes the add-on's port answer with an error, or without one.
func (c *fakeCluster) reachable(answer error) {
	enabletest.Answer(c.kube, func() error { return answer })
}

// texts returns the texts of warnings.
func texts(warnings []Warning) []string {
	var all []string
	for _, w := range warnings {
		all = append(all, w.Text)
	}
	return all
}
