// SPDX-License-Identifier: Apache-2.0

// Package cluster has the types that the cluster halves of the backends share. It is separate from package
// signing because it needs the API types of Kubernetes and Tekton, which the signer must not link.
package cluster

import (
	"context"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ControllerClient is the half of a backend that the add-on calls for each TaskRun, with the method names of
// TEP-0089. Verifying results is not part of it: package verify does that for
// all backends.
type ControllerClient interface {
	// CreateEntries registers a TaskRun, so that its pods get their identity. pod is nil before there is one.
	// After ttl the registration ends by itself. Registering again extends it.
	CreateEntries(ctx context.Context, tr *v1.TaskRun, pod *corev1.Pod, ttl time.Duration) error
	// DeleteEntry ends the registration of a TaskRun. Only its UID counts. It is not an error if there is none.
	DeleteEntry(ctx context.Context, tr *v1.TaskRun, pod *corev1.Pod) error
	// ListEntries calls f for every TaskRun of this cluster that is registered.
	ListEntries(ctx context.Context, f func(Registered)) error
	// Close releases the client's resources.
	Close() error
}

// Registered is a TaskRun that is registered.
type Registered struct {
	Namespace, Name string
	UID             types.UID
}

// NoopControllerClient is the client of a backend whose TaskRuns need no registration.
type NoopControllerClient struct{}

var _ ControllerClient = NoopControllerClient{}

// CreateEntries does nothing.
func (NoopControllerClient) CreateEntries(context.Context, *v1.TaskRun, *corev1.Pod, time.Duration) error {
	return nil
}

// DeleteEntry does nothing.
func (NoopControllerClient) DeleteEntry(context.Context, *v1.TaskRun, *corev1.Pod) error { return nil }

// ListEntries does nothing.
func (NoopControllerClient) ListEntries(context.Context, func(Registered)) error { return nil }

// Close does nothing.
func (NoopControllerClient) Close() error { return nil }

// Volume is one that a backend needs in a pod. It is mounted read-only.
type Volume struct {
	Name   string // within the pod, after a prefix of the one who mounts it
	Path   string // where it is mounted
	Source corev1.VolumeSource
}
