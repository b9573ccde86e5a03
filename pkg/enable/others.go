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

// OtherControllers returns the running controllers of Tekton beside the chosen one. If the user may not search
// everywhere, that is an error beside what was found.
func OtherControllers(ctx context.Context, client kubeclient.Interface, chosen Controller) ([]Controller, error) {
	all, err := controllersIn(ctx, client, metav1.NamespaceAll)
	return slices.DeleteFunc(all, func(c Controller) bool {
		return c.Stopped || c.Namespace == chosen.Namespace && c.Account == chosen.Account
	}), err
}

// InScope returns the controllers that run TaskRuns in a namespace in scope. The policies and webhooks admit the
// service account of one controller, and would refuse the pods and the statuses that another one writes. The
// namespaces of that one have to be left out of the scope.
func InScope(
	ctx context.Context, client kubeclient.Interface, s settings.Settings, tektonNamespace string,
	controllers []Controller,
) ([]Controller, error) {
	inScope := s.Scope.Matcher(settings.Reserved(tektonNamespace))
	var conflicting []Controller
	for _, controller := range controllers {
		if controller.Serves != "" {
			labels, err := labelsOf(ctx, client, controller.Serves)
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

// labelsOf returns the labels of a namespace. A namespace that does not exist yet will have a label with its name.
func labelsOf(ctx context.Context, client kubeclient.Interface, namespace string) (map[string]string, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return map[string]string{corev1.LabelMetadataName: namespace}, nil
	case err != nil:
		return nil, fmt.Errorf("reading namespace %s: %w", namespace, err)
	}
	return ns.Labels, nil
}

// ConflictText explains why other controllers are a problem, and what the user can do.
func ConflictText(tektonNamespace string, others []Controller) string {
	return Conflict(tektonNamespace, others) + ". The TaskRuns of another would fail: " + ConflictAdvice
}

// ConflictAdvice is what the user can do.
const ConflictAdvice = "leave its namespaces out with --namespaces or --namespace-selector, " +
	"keep it to its own with its flag -namespace, or choose it with --tekton-namespace"

// maxOthers is how many controllers are listed.
const maxOthers = 3

// Conflict names other controllers, within bounds.
func Conflict(tektonNamespace string, others []Controller) string {
	listed := others[:min(len(others), maxOthers)]
	served := make([]string, len(listed))
	for i, other := range listed {
		served[i] = fmt.Sprintf("%s (service account %s, runs the TaskRuns of %s)",
			other, orStock(other.Account), other.served())
	}
	text := fmt.Sprintf("more than one controller of Tekton runs TaskRuns in the namespaces in scope, "+
		"and the policies admit one: beside that of namespace %s %s", tektonNamespace, strings.Join(served, ", "))
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

// obstacles returns why the plan must not be carried out.
func obstacles(ctx context.Context, client kubeclient.Interface, p Plan) ([]string, error) {
	conflicting, err := InScope(ctx, client, p.Settings, p.Environment.TektonNamespace, p.Environment.Others)
	if err != nil || len(conflicting) == 0 {
		return nil, err
	}
	return []string{ConflictText(p.Environment.TektonNamespace, conflicting)}, nil
}

// CheckObstacles is an error if the plan must not be carried out.
func (p Plan) CheckObstacles() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("%s: nothing was changed", strings.Join(p.Obstacles, "; "))
}
