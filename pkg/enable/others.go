// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// otherControllers returns the running controllers of Tekton beside the chosen one.
func otherControllers(ctx context.Context, client kubeclient.Interface, chosen Controller) ([]Controller, error) {
	all, err := controllersIn(ctx, client, metav1.NamespaceAll)
	return slices.DeleteFunc(all, func(c Controller) bool {
		return c.Stopped || c.Namespace == chosen.Namespace && c.Account == chosen.Account
	}), err
}

// inScopeOf returns those controllers that run TaskRuns in a namespace in scope. One controller writes what TaskRuns report, and
// the policies and webhooks know it by its service account: they would refuse what another one makes. That one's namespaces are
// left out of the scope instead, which costs it nothing.
func (c Clients) inScopeOf(ctx context.Context, s settings.Settings, tektonNamespace string, controllers []Controller) ([]Controller, error) {
	inScope := s.Scope.Matcher(settings.Reserved(tektonNamespace))
	var conflicting []Controller
	for _, controller := range controllers {
		if controller.Serves != "" {
			labels, err := c.labelsOf(ctx, controller.Serves)
			if err != nil {
				return nil, err
			}
			if !inScope(labels) {
				continue
			}
		}
		conflicting = append(conflicting, controller)
	}
	return conflicting, nil
}

// labelsOf returns the labels of a namespace. One that does not exist yet will have its name at least.
func (c Clients) labelsOf(ctx context.Context, namespace string) (map[string]string, error) {
	ns, err := c.Kube.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return map[string]string{corev1.LabelMetadataName: namespace}, nil
	case err != nil:
		return nil, fmt.Errorf("reading namespace %s: %w", namespace, err)
	}
	return ns.Labels, nil
}

// conflictText says what a second controller means, and the way out.
func conflictText(tektonNamespace string, others []Controller) string {
	return conflict(tektonNamespace, others) + ". The TaskRuns of another would fail: " + conflictAdvice
}

// conflictAdvice is the way out.
const conflictAdvice = "leave its namespaces out with --namespaces or --namespace-selector, keep it to its own with its flag -namespace, " +
	"or choose it with --tekton-namespace"

// maxOthers is how many controllers are listed.
const maxOthers = 3

func conflict(tektonNamespace string, others []Controller) string {
	listed := others[:min(len(others), maxOthers)]
	served := make([]string, len(listed))
	for i, other := range listed {
		served[i] = fmt.Sprintf("%s (service account %s, runs the TaskRuns of %s)", other, orStock(other.Account), other.served())
	}
	text := fmt.Sprintf("more than one controller of Tekton runs TaskRuns in the namespaces in scope, and the policies admit one: "+
		"beside that of namespace %s %s", tektonNamespace, strings.Join(served, ", "))
	if n := len(others) - len(listed); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func orStock(account string) string {
	if account == "" {
		return "not named"
	}
	return account
}

// obstacles says what keeps a plan from being carried out.
func (c Clients) obstacles(ctx context.Context, p Plan) ([]string, error) {
	conflicting, err := c.inScopeOf(ctx, p.Settings, p.Environment.TektonNamespace, p.Environment.Others)
	if err != nil || len(conflicting) == 0 {
		return nil, err
	}
	return []string{conflictText(p.Environment.TektonNamespace, conflicting)}, nil
}

// CheckObstacles is an error if the plan must not be carried out.
func (p Plan) CheckObstacles() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("%s: nothing was changed", strings.Join(p.Obstacles, "; "))
}
