// SPDX-License-Identifier: Apache-2.0

// Package owner knows Tekton's objects among the owners of others. It is the one place that does: what reads
// owners must believe no more than the admission policies guard, which is every owner of these kinds, of
// whatever group.
package owner

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// group is that of Tekton's objects.
const group = "tekton.dev"

// Kinds of owners.
const (
	TaskRun     = "TaskRun"
	PipelineRun = "PipelineRun"
)

// Controller returns the reference to the controller of an object if that is one of Tekton's of this kind,
// nil otherwise.
func Controller(object metav1.Object, kind string) *metav1.OwnerReference {
	ref := metav1.GetControllerOf(object)
	if ref == nil || !Is(*ref, kind) {
		return nil
	}
	return ref
}

// Is reports whether a reference is to one of Tekton's objects of this kind.
func Is(ref metav1.OwnerReference, kind string) bool {
	version, err := schema.ParseGroupVersion(ref.APIVersion)
	return err == nil && version.Group == group && ref.Kind == kind
}
