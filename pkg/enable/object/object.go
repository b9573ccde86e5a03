// SPDX-License-Identifier: Apache-2.0

// Package object converts, names and compares the objects of an installation.
package object

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// From returns an object in the form that is sent for a server-side apply: without status, and without the nulls that
// Go's types print for fields that are not set.
func From(object runtime.Object) (*unstructured.Unstructured, error) {
	content, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", object, err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(content); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", object, err)
	}
	unstructured.RemoveNestedField(u.Object, "status")
	dropNulls(u.Object)
	return u, nil
}

func dropNulls(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if member == nil {
				delete(v, key)
				continue
			}
			dropNulls(member)
		}
	case []any:
		for _, member := range v {
			dropNulls(member)
		}
	}
}

// Client returns the client for the objects of u's kind and namespace.
func Client(client dynamic.Interface, u *unstructured.Unstructured) dynamic.ResourceInterface {
	return client.Resource(GVR(u)).Namespace(u.GetNamespace())
}

// GVR returns the resource of u's kind. All kinds of the manifests have regular plurals.
func GVR(u *unstructured.Unstructured) schema.GroupVersionResource {
	plural, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	return plural
}

// Named returns an object with nothing but a kind, a namespace and a name. The namespace is empty for an object of the
// cluster.
func Named(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// Describe names an object for people: its kind, and namespace/name.
func Describe(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// IsSettings reports whether an object is ConfigMap config-signing.
func IsSettings(u *unstructured.Unstructured) bool {
	return u.GetKind() == "ConfigMap" && u.GetName() == settings.ConfigMapName
}

// SameContent reports whether two states of an object differ only in what the API server adds.
func SameContent(a, b *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(content(a).Object, content(b).Object)
}

func content(u *unstructured.Unstructured) *unstructured.Unstructured {
	c := u.DeepCopy()
	unstructured.RemoveNestedField(c.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"} {
		unstructured.RemoveNestedField(c.Object, "metadata", field)
	}
	return c
}
