// SPDX-License-Identifier: Apache-2.0

// Package owner recognizes Tekton's objects among the owners of other objects. Only this package does that,
// because readers of owners must not trust more than the admission policies protect: every owner of these
// kinds, in any API group.
package owner

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// group is the API group of Tekton's objects.
const group = "tekton.dev"

// Kinds of owners.
const (
	TaskRun     = "TaskRun"
	PipelineRun = "PipelineRun"
)

// Controller returns the reference to the controller of an object if that is a Tekton object of this kind, or
// nil otherwise.
func Controller(object metav1.Object, kind string) *metav1.OwnerReference {
	ref := metav1.GetControllerOf(object)
	if ref == nil || !Is(*ref, kind) {
		return nil
	}
	return ref
}

// Is reports whether a reference is to a Tekton object of this kind.
func Is(ref metav1.OwnerReference, kind string) bool {
	version, err := schema.ParseGroupVersion(ref.APIVersion)
	return err == nil && version.Group == group && ref.Kind == kind
}
