// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	tektonnames "github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// errNotTwice is why a difference proves nothing.
var errNotTwice = errors.New("the pod's status differs from the TaskRun's, and could not be read twice")

// verify judges the TaskRun. A report of the kubelet that differs is read again: the pod's status may have changed
// since Tekton's controller read it, and only the same difference twice counts. In enforce, a read that fails is an
// error: the TaskRun would fail for what may have passed in a moment.
func (h *StatusHandler) verify(ctx context.Context, w write, tr *v1.TaskRun, facts *verify.Facts) (verify.Result,
	error) {
	rules := RulesOf(w.settings, w.mode)
	result, err := h.Verifier.TaskRun(ctx, rules, tr, *facts)
	if err != nil || !rules.Receipts || !failedReceipt(result) {
		return result, err
	}
	again, err := h.readAgain(ctx, tr)
	switch {
	case err != nil && w.mode == settings.Enforce:
		return verify.Result{}, fmt.Errorf("%w: %w", errNotTwice, err)
	case err != nil || !again.Found:
		return indeterminate(string(verify.CheckReceipt), errNotTwice), nil
	}
	facts.Pod = again
	return h.Verifier.TaskRun(ctx, rules, tr, *facts)
}

// readAgain reads the pod a second time, unless too little time remains to use it.
func (h *StatusHandler) readAgain(ctx context.Context, tr *v1.TaskRun) (*verify.PodFacts, error) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < podTimeout {
		return nil, errors.New("the first read took too long")
	}
	return h.readPod(ctx, tr, true)
}

// failedReceipt reports whether the report of the kubelet differs.
func failedReceipt(result verify.Result) bool {
	return slices.ContainsFunc(result.Checks, func(c verify.Check) bool {
		return c.ID == verify.CheckReceipt && c.Status == verify.Fail
	})
}

// readPod reads the identity of the pod in status.podName, and the kubelet's report of it if wanted.
func (h *StatusHandler) readPod(ctx context.Context, tr *v1.TaskRun, reported bool) (*verify.PodFacts, error) {
	if tr.Status.PodName == "" {
		return &verify.PodFacts{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	pod, err := h.Pods.Get(ctx, tr.Namespace, tr.Status.PodName, reported)
	if apierrors.IsNotFound(err) {
		return &verify.PodFacts{}, nil
	}
	if err != nil {
		return nil, err
	}
	facts := verify.FactsOf(pod)
	if reported {
		facts.Reported = verify.ReportOf(pod)
		h.readLog(ctx, pod, &facts.Reported.Log)
	}
	facts.Unfenced = h.unfenced(pod, reported)
	return facts, nil
}

// readLog reads the log of Tekton's results sidecar, if values travel by it and the settings let the add-on. What
// keeps it from being read is said in the verdict.
func (h *StatusHandler) readLog(ctx context.Context, pod *corev1.Pod, log *verify.ResultsLog) {
	if !log.Used || !h.Scope.Settings().SidecarLogs {
		return
	}
	if !log.Ended {
		log.Missing = "the sidecar has not ended"
		return
	}
	text, err := h.Pods.Log(ctx, pod.Namespace, pod.Name, tektonnames.ResultsSidecar, verify.MaxLog+1)
	if err == nil {
		err = h.stillThere(ctx, pod)
	}
	if err == nil {
		err = log.Read(text)
	}
	if err != nil {
		log.Missing = err.Error()
	}
}

// stillThere returns an error if another pod may have taken the place of this one. A log is read by the pod's name.
func (h *StatusHandler) stillThere(ctx context.Context, pod *corev1.Pod) error {
	now, err := h.Pods.Get(ctx, pod.Namespace, pod.Name, false)
	switch {
	case err != nil:
		return fmt.Errorf("reading the pod again after its log: %w", err)
	case now.UID != pod.UID:
		return errors.New("the pod was replaced while its log was read")
	}
	return nil
}

// unfenced reports whether the pod may be older than the protection of its namespace. Without a grant no step has a
// token to sign with, but a report needs none, and neither does another backend's evidence. Times are whole seconds:
// those do not count if their pod is of the same second.
func (h *StatusHandler) unfenced(pod *corev1.Pod, reported bool) bool {
	since, granted := h.Since(pod.Namespace)
	created := pod.GetCreationTimestamp().Time
	if reported || !backends.Of(h.Scope.Settings().Backend).Tokens {
		return !granted || !created.After(since)
	}
	return granted && created.Before(since)
}
