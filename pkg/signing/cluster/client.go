// SPDX-License-Identifier: Apache-2.0

// Package cluster has the types that the cluster halves of the backends share. It is separate from package
// signing because it needs the API types of Kubernetes and Tekton, which the signer must not link.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// StatusClient signs the status of completed TaskRuns, with the method names of TEP-0089. It makes no request.
type StatusClient interface {
	// AppendStatusInternalAnnotation signs the status as it is, and annotates it. It does nothing, without an
	// error, if the backend signs none.
	AppendStatusInternalAnnotation(ctx context.Context, tr *v1.TaskRun) error
	// VerifyStatusInternalAnnotation returns an error unless the annotations vouch for the status as it is: a
	// *StatusRefutedError, or one that wraps ErrStatusUnsigned if there are none, or ErrStatusUndecided if the keys
	// to verify them are not known.
	VerifyStatusInternalAnnotation(ctx context.Context, tr *v1.TaskRun) error
	// CheckSpireVerifiedFlag reports whether nobody has noted that the status was changed.
	CheckSpireVerifiedFlag(tr *v1.TaskRun) bool
}

// Errors of VerifyStatusInternalAnnotation that refute nothing.
var (
	ErrStatusUnsigned  = errors.New("the status is not signed")
	ErrStatusUndecided = errors.New("the signature of the status cannot be verified now")
)

// StatusRefutedError means that the annotations do not vouch for the status. It holds the check that failed.
type StatusRefutedError struct{ Check check.Check }

func (e *StatusRefutedError) Error() string {
	return fmt.Sprintf("%s: expected %s, got %s", e.Check.Message, e.Check.Expected, e.Check.Got)
}

// ControllerClient is the half of a backend that the add-on calls for each TaskRun, with the method names of
// TEP-0089. VerifyTaskRunResults is not part of it: package verify verifies the results of all backends.
type ControllerClient interface {
	StatusClient
	EntryClient
}

// EntryClient registers TaskRuns.
type EntryClient interface {
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

// AppendStatusInternalAnnotation does nothing.
func (NoopControllerClient) AppendStatusInternalAnnotation(context.Context, *v1.TaskRun) error {
	return nil
}

// VerifyStatusInternalAnnotation verifies nothing.
func (NoopControllerClient) VerifyStatusInternalAnnotation(context.Context, *v1.TaskRun) error {
	return ErrStatusUndecided
}

// CheckSpireVerifiedFlag reports true.
func (NoopControllerClient) CheckSpireVerifiedFlag(*v1.TaskRun) bool { return true }

// Close does nothing.
func (NoopControllerClient) Close() error { return nil }

// Volume is one that a backend needs in a pod. It is mounted read-only.
type Volume struct {
	Name   string // within the pod, after a prefix of the one who mounts it
	Path   string // where it is mounted
	Source corev1.VolumeSource
}
