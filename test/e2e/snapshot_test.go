// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// restless are the kinds that a cluster changes by itself.
var restless = []string{
	"events", "leases", "endpoints", "endpointslices", "pods", "replicasets", "controllerrevisions", "nodes",
	"componentstatuses", "ipaddresses",
}

// snapshot returns a digest of every object in the cluster, by name, but for what a cluster changes by itself and
// for the tests' own namespaces.
func (c *cluster) snapshot(t *testing.T) map[string]string {
	t.Helper()
	lists, err := discovery.ServerPreferredResources(c.kube.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if slices.Contains(r.Verbs, "list") && !slices.Contains(restless, r.Name) {
				c.snapshotOf(t, gv.WithResource(r.Name), got)
			}
		}
	}
	if len(got) < 100 {
		t.Fatalf("a cluster with Tekton has more than %d objects", len(got))
	}
	return got
}

func (c *cluster) snapshotOf(t *testing.T, resource schema.GroupVersionResource, into map[string]string) {
	t.Helper()
	items, err := c.dynamic.Resource(resource).List(t.Context(), metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return
	}
	if err != nil {
		t.Fatalf("listing %s: %v", resource, err)
	}
	for _, item := range items.Items {
		if strings.HasPrefix(item.GetNamespace(), "e2e-") || strings.HasPrefix(item.GetName(), "e2e-") {
			continue
		}
		name := resource.GroupResource().String() + " " + item.GetNamespace() + "/" + item.GetName()
		into[name] = digestOf(t, item)
	}
}

// digestOf covers what a user can set, not what the API server keeps about it.
func digestOf(t *testing.T, item unstructured.Unstructured) string {
	t.Helper()
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(item.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(item.Object, "status")
	data, err := json.Marshal(item.Object)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

func wantSame(t *testing.T, before, after map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the cluster is not as before (-before +after):\n%s", diff)
	}
}
