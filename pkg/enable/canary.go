// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// maxCanaries is in how many namespaces a pod is tried, one after the other.
const maxCanaries = 8

// podInjected asks the API server to create, as a dry run, a pod like those that Tekton creates for a TaskRun. All of
// its images are the signer's, which a policy for the pods of TaskRuns has to admit anyway. Where a policy or a quota
// of a namespace refuses the pod, it is tried in another namespace. Where all of them refuse it, only that the API
// server reaches the add-on can be shown.
func (s serving) podInjected(ctx context.Context) (bool, string, error) {
	namespaces, err := s.canaryNamespaces(ctx)
	if err != nil {
		return false, "", err
	}
	refused := "no namespace is in scope"
	for _, namespace := range namespaces {
		pod, err := s.Kube.CoreV1().Pods(namespace).Create(ctx, inject.Model(namespace, s.plan.SignerImage),
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if refusesPod(err) {
			refused = fmt.Sprintf("namespace %s refuses the pod: %v", namespace, err)
			continue
		}
		if reason := notCalled(err); reason != "" {
			return false, reason, nil
		}
		if err != nil {
			return false, "", fmt.Errorf("creating a pod in namespace %s as a dry run: %w", namespace, err)
		}
		reason := s.notInjected(ctx, pod)
		return reason == "", reason, nil
	}
	if reason := Unreached(ctx, s.Kube); reason != "" {
		return false, reason + "; " + OpenPort(), nil
	}
	return true, "the API server reaches the add-on; whether pods get the signer was not tried: " + refused, nil
}

// refusesPod reports whether an error is the answer of a policy, a webhook or a quota of the namespace to the pod.
func refusesPod(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) ||
		err != nil && strings.Contains(err.Error(), "denied the request")
}

// notInjected returns why the pod does not sign as the plan wants it, empty if it does.
func (s serving) notInjected(ctx context.Context, pod *corev1.Pod) string {
	canary := pod.Spec.Containers[0]
	switch {
	case canary.Command[0] != tekton.Entrypoint:
		return s.wrongSigner(canary)
	case pod.Annotations[signing.UnsignedAnnotation] != "":
		return "" // the add-on was called, and has noted why; status reports it, too
	}
	return whyUnchanged(ctx, s.Kube)
}

// wrongSigner returns why a step, which the signer wraps, does not sign as the plan wants it, empty if it does.
func (s serving) wrongSigner(canary corev1.Container) string {
	config, _, err := step.Parse(canary.Args)
	if err != nil {
		return fmt.Sprintf("the pod's signer comes back with other arguments than this version's: %v", err)
	}
	if config.Options != s.plan.Settings.Step() {
		return "the pod's signer still has the settings from before"
	}
	return ""
}

// canaryNamespaces returns a few namespaces in scope, none if there is none yet.
func (s serving) canaryNamespaces(ctx context.Context) ([]string, error) {
	list, err := s.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var found []string
	inScope := s.plan.Settings.Scope.Matcher(settings.Reserved(s.plan.Environment.TektonNamespace))
	for _, ns := range list.Items {
		if len(found) < maxCanaries && ns.DeletionTimestamp == nil && inScope(ns.Labels) {
			found = append(found, ns.Name)
		}
	}
	return found, nil
}
