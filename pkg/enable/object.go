// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// FieldManager owns, on the API server, the fields that enable sets.
const FieldManager = "tekton-sign"

// toUnstructured returns object in the form that is sent for a server-side apply: without status, and without the nulls
// that Go's types print for what nobody set.
func toUnstructured(object runtime.Object) (*unstructured.Unstructured, error) {
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

// resourceOf returns the client for the objects of u's kind and namespace. The kinds of the manifests all have regular
// plurals.
func resourceOf(client dynamic.Interface, u *unstructured.Unstructured) dynamic.ResourceInterface {
	return client.Resource(gvrOf(u)).Namespace(u.GetNamespace())
}

func gvrOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	plural, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	return plural
}

// describe names an object for people: its kind, and namespace/name.
func describe(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// sameContent reports whether two states of an object differ in nothing but the server's book-keeping.
func sameContent(a, b *unstructured.Unstructured) bool {
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
