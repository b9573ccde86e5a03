// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
)

// Patience with one probe. The kubelet tries again after ten seconds, so one failure of a registry does not decide.
const (
	probePatience = 90 * time.Second
	probeRetry    = 15 * time.Second
	probeLifetime = 2 * time.Minute // of the pod, if nobody is left to delete it
	probeRemoval  = 15 * time.Second
)

// ProbeRefused begins the doubt about a probe whose pod the API server refused.
const ProbeRefused = "the pod that would show it was refused"

// try runs the pod of a probe and deletes it. failure is why the node does not get the signer, doubt why that is not
// known. Both are empty where the node gets it.
func try(ctx context.Context, client kubeclient.Interface, p pullProbe) (failure, doubt string) {
	pods := client.CoreV1().Pods(p.place.namespace)
	pod, err := create(ctx, pods, p.pod())
	if err != nil { // a quota, Pod Security, another policy, or a missing permission: each has no effect on TaskRuns
		return "", fmt.Sprintf(ProbeRefused+": %v", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeRemoval)
		defer cancel()
		now := int64(0)
		err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && doubt == "" {
			doubt = fmt.Sprintf("delete pod %s, which could not be: %v", pod.Name, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	return watch(ctx, pods, pod)
}

// create creates a pod. Who interrupts it meanwhile waits for the answer: without its name, the pod could not be
// deleted.
func create(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) (*corev1.Pod, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeRemoval)
	defer cancel()
	return pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: FieldManager})
}

// watch waits until the pod of a probe has ended, or does not start for a while.
func watch(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) (failure, doubt string) {
	var failing time.Time
	for {
		switch pod.Status.Phase {
		case corev1.PodSucceeded:
			return "", ""
		case corev1.PodFailed:
			return whyFailed(pod)
		case corev1.PodRunning:
			failure, failing = "", time.Time{}
		}
		if _, why := delivery.Stuck(pod); why != "" {
			if failing.IsZero() {
				failing = time.Now()
			}
			if time.Since(failing) >= probeRetry {
				return why, ""
			}
			failure = why
		}
		select {
		case <-ctx.Done():
			return failure, "the pod did not start in time: " + whyPending(pod)
		case <-time.After(pollInterval):
		}
		latest, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return failure, fmt.Sprintf("the pod cannot be read: %v", err)
		}
		pod = latest
	}
}

// whyFailed returns why the pod failed: as a failure if the signer cannot run there, as a doubt otherwise.
func whyFailed(pod *corev1.Pod) (failure, doubt string) {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		t := s.State.Terminated
		if t == nil || t.ExitCode == 0 {
			continue
		}
		why := fmt.Sprintf("the signer does not run: %s, exit code %d: %s", t.Reason, t.ExitCode, t.Message)
		if t.Reason == "StartError" || t.Reason == "ContainerCannotRun" {
			return why, ""
		}
		return "", why
	}
	return "", fmt.Sprintf("the pod failed: %s: %s", pod.Status.Reason, pod.Status.Message)
}

// whyPending returns what a pod waits for.
func whyPending(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled: " + c.Message
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "PodInitializing" {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	return string(pod.Status.Phase)
}
