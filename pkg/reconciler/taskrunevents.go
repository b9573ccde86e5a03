// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Reasons of events. If a TaskRun did not verify, the reason is that of the condition,
// verify.ReasonVerificationFailed.
const (
	ReasonVerifiedLate = "TaskRunResultsVerifiedLate"     // it completed without being judged
	ReasonNotOurs      = "SignedResultsConditionReplaced" // the verdict was not the add-on's
	ReasonNotRecorded  = manifests.EventNotRecorded       // and the add-on gives up
)

// Limits of an event: those of the API server, in bytes, with a margin.
const (
	maxEventMessage = 1000
	maxEventPrefix  = 200 // of the TaskRun's name in the event's
)

// events makes events of TaskRuns.
type events struct {
	client kubernetes.Interface
	now    func() time.Time
	log    *zap.SugaredLogger
}

// report makes an event about a TaskRun. It makes the same event only once, because the event's name depends on its
// message.
func (e events) report(ctx context.Context, taskRun *unstructured.Unstructured, kind, reason, message string) error {
	return e.send(ctx, taskRun, kind, reason, message, display.Cut(display.Safe(message), maxEventMessage))
}

// tellOnce makes at most one event for this reason, whatever its message is.
func (e events) tellOnce(ctx context.Context, taskRun *unstructured.Unstructured, kind, reason, message string) error {
	return e.send(ctx, taskRun, kind, reason, message, "")
}

// send makes the event, unless there is one with this reason and mark.
func (e events) send(ctx context.Context, taskRun *unstructured.Unstructured, kind, reason, message,
	mark string) error {
	message = display.Cut(display.Safe(message), maxEventMessage)
	sum := sha256.Sum256([]byte(strings.Join([]string{string(taskRun.GetUID()), reason, mark}, "\x00")))
	now := metav1.NewTime(e.now())
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: taskRun.GetNamespace(),
			Name:      fmt.Sprintf("%s.%x", strings.TrimRight(display.Cut(taskRun.GetName(), maxEventPrefix), "-."), sum[:8]),
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "tekton.dev/v1", Kind: "TaskRun", Namespace: taskRun.GetNamespace(), Name: taskRun.GetName(),
			UID: taskRun.GetUID(), ResourceVersion: taskRun.GetResourceVersion(),
		},
		Type: kind, Reason: reason, Message: message, Source: corev1.EventSource{Component: manifests.Controller},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: manifests.Controller,
	}
	_, err := e.client.CoreV1().Events(event.Namespace).Create(ctx, event,
		metav1.CreateOptions{FieldManager: manifests.Controller})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsForbidden(err): // for example a quota, which must not prevent the record
		e.log.Warnw("no event may be made of this", "namespace", event.Namespace, "taskRun", taskRun.GetName(), "reason",
			reason, zap.Error(err))
		return nil
	}
	return fmt.Errorf("telling of the TaskRun by an event: %w", err)
}
