// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
)

// Subject is the object of a review. Its UID is empty until the old object was read.
type Subject struct {
	Namespace, Name string
	UID             types.UID
}

type subjectKey struct{}

func withSubject(ctx context.Context, request *admissionv1.AdmissionRequest) context.Context {
	return context.WithValue(ctx, subjectKey{}, Subject{Namespace: request.Namespace, Name: request.Name})
}

// withStored returns a context for reading the pods of the TaskRun that is stored.
func withStored(ctx context.Context, id identity) context.Context {
	return context.WithValue(ctx, subjectKey{}, Subject{id.Namespace, id.Name, types.UID(id.UID)})
}

// OwnPods reads the pods of the TaskRun that a review asks about, and no others. Nobody proves to be an API server:
// a review that names another pod, or another UID of the TaskRun, must tell nothing about that.
type OwnPods struct {
	Pods PodGetter
}

// nameKept is how many characters of a TaskRun's name begin the name of its pod, however long the name is. Tekton
// keeps more.
const nameKept = 16

// Log implements PodGetter, for a pod that Get has shown to be the TaskRun's own.
func (p OwnPods) Log(ctx context.Context, namespace, name, container string, atMost int64) ([]byte, error) {
	pod, err := p.Get(ctx, namespace, name, false)
	if err != nil {
		return nil, err
	}
	if pod.UID == "" {
		return nil, errors.New("expected a pod of the request's TaskRun")
	}
	return p.Pods.Log(ctx, namespace, name, container, atMost)
}

// Get implements PodGetter. A pod that is not the TaskRun's own comes back as one without UID and owner.
func (p OwnPods) Get(ctx context.Context, namespace, name string, whole bool) (*corev1.Pod, error) {
	subject, ok := ctx.Value(subjectKey{}).(Subject)
	if !ok || subject.Name == "" || namespace != subject.Namespace {
		return nil, errors.New("expected the namespace of the request")
	}
	stranger := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if !strings.HasPrefix(name, subject.Name[:min(len(subject.Name), nameKept)]) {
		return stranger, nil
	}
	pod, err := p.Pods.Get(ctx, namespace, name, whole)
	if err != nil {
		return nil, err
	}
	if ref := owner.Controller(pod, owner.TaskRun); ref == nil || ref.Name != subject.Name || ref.UID != subject.UID {
		return stranger, nil
	}
	return pod, nil
}
