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
)

// maxCanaries bounds the namespaces in which a pod is tried, one after the other.
const maxCanaries = 8

// canaryPod returns a pod as Tekton makes them, for a dry run. All of it is of the signer's image: a policy that
// allows the signer in TaskRuns' pods has nothing against it.
func canaryPod(namespace, signer string) *corev1.Pod { return inject.Model(namespace, signer) }

// podInjected asks the API server to create, as a dry run, a pod like those that Tekton makes for a TaskRun. Where a
// policy or a quota of a namespace refuses it, another namespace shows it as well. Where all do, that the API server
// reaches the add-on is all that is known.
func (p Plan) podInjected(c Clients) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		namespaces, err := p.someNamespaces(ctx, c)
		if err != nil {
			return false, "", err
		}
		refused := "no namespace is in scope"
		for _, namespace := range namespaces {
			pod, err := c.Kube.CoreV1().Pods(namespace).Create(ctx, canaryPod(namespace, p.SignerImage),
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
			reason := p.notInjected(ctx, c, pod)
			return reason == "", reason, nil
		}
		if reason := c.unreached(ctx); reason != "" {
			return false, reason + "; " + openPort(), nil
		}
		return true, "the API server reaches the add-on; whether pods get the signer was not tried: " + refused, nil
	}
}

// refusesPod reports whether an error is what a policy, a webhook or a quota of the namespace says to the pod.
func refusesPod(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) ||
		err != nil && strings.Contains(err.Error(), "denied the request")
}

// notInjected says why the canary does not sign as the plan wants it, nothing if it does.
func (p Plan) notInjected(ctx context.Context, c Clients, pod *corev1.Pod) string {
	canary := pod.Spec.Containers[0]
	switch {
	case canary.Command[0] != tekton.Entrypoint:
		return p.wrongSigner(canary)
	case pod.Annotations[signing.UnsignedAnnotation] != "":
		return "" // it was called, and said why: status does, too
	}
	return c.whyUnchanged(ctx)
}

// someNamespaces returns some namespaces in scope, none while there is none.
func (p Plan) someNamespaces(ctx context.Context, c Clients) ([]string, error) {
	list, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var names []string
	inScope := p.Settings.Scope.Matcher(settings.Reserved(p.Environment.TektonNamespace))
	for _, ns := range list.Items {
		if len(names) < maxCanaries && ns.DeletionTimestamp == nil && inScope(ns.Labels) {
			names = append(names, ns.Name)
		}
	}
	return names, nil
}
