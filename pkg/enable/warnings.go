// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// warnings says what the plan gives up, and which TaskRuns it will fail.
func (c Clients) warnings(ctx context.Context, p Plan, before settings.Settings) ([]string, error) {
	var warnings []string
	after, signed := p.Settings, before.Backend != signing.BackendNone
	if after.Enforcement == settings.Enforce && after.Policies == settings.PoliciesStandard {
		warnings = append(warnings, "results are enforced with policies standard: whoever may edit a namespace can make a pod that "+
			"passes for a TaskRun's, or get into one and sign whatever they like, and whoever may update taskruns/status can write it. "+
			"--policies strict prevents it")
	}
	if signed && before.Enforcement == settings.Enforce && after.Enforcement == settings.Audit {
		warnings = append(warnings, "results are not enforced any more: a TaskRun whose results do not verify succeeds, and they are used")
	}
	if signed && before.Policies == settings.PoliciesStrict && after.Policies != settings.PoliciesStrict {
		warnings = append(warnings, "the strict policies hold in fewer namespaces than before")
	}
	if !p.Environment.OthersSeen {
		warnings = append(warnings, "you may not list Deployments and StatefulSets in all namespaces: no other controller of Tekton was "+
			"looked for. If there is one, its TaskRuns in the namespaces in scope will fail")
	}
	lost, err := c.tokenWarnings(ctx, p, before)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, lost...)
	failing, err := c.unsignedPods(ctx, p, before)
	switch {
	case IsForbidden(err):
		warnings = append(warnings, fmt.Sprintf("TaskRuns that are running unsigned in the namespaces whose results are enforced from now on "+
			"will fail. They were not counted: %v", err))
	case err != nil:
		return nil, err
	case len(failing) > 0:
		warnings = append(warnings, fmt.Sprintf("TaskRuns that run in pods which do not sign, in namespaces whose results are enforced from now on, "+
			"will fail: %d. %s", len(failing), some(failing)))
	}
	return warnings, nil
}

// some lists the first few.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return "These are " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("The first are %s", strings.Join(names[:few], ", "))
}

// podPage bounds one answer.
const podPage = 250

// unsignedPods names the TaskRuns (namespace/name) whose pods do not sign and have not ended, in the namespaces whose mode
// becomes enforce by the plan.
func (c Clients) unsignedPods(ctx context.Context, p Plan, before settings.Settings) ([]string, error) {
	affected, err := c.newlyEnforced(ctx, p, before)
	if err != nil || len(affected) == 0 {
		return nil, err
	}
	var names []string
	options := metav1.ListOptions{
		LabelSelector: pipeline.TaskRunLabelKey, FieldSelector: "status.phase!=Succeeded,status.phase!=Failed", Limit: podPage,
	}
	for {
		page, err := c.Kube.CoreV1().Pods("").List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("looking for TaskRuns that run unsigned: %w", err)
		}
		for i := range page.Items {
			if pod := &page.Items[i]; affected[pod.Namespace] && !signs(pod) {
				names = append(names, pod.Namespace+"/"+pod.Labels[pipeline.TaskRunLabelKey])
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return names, nil
		}
	}
}

// newlyEnforced returns the names of the namespaces in which the plan turns enforcement on.
func (c Clients) newlyEnforced(ctx context.Context, p Plan, before settings.Settings) (map[string]bool, error) {
	list, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	reserved := settings.Reserved(p.Environment.TektonNamespace)
	enforced := func(s settings.Settings, labels map[string]string) bool {
		return s.Backend != signing.BackendNone && s.Scope.Matcher(reserved)(labels) && s.EnforcementOf(labels) == settings.Enforce
	}
	names := map[string]bool{}
	for _, ns := range list.Items {
		if enforced(p.Settings, ns.Labels) && !enforced(before, ns.Labels) {
			names[ns.Name] = true
		}
	}
	return names, nil
}

// signs reports whether the signer wraps every step of a TaskRun's pod.
func signs(pod *corev1.Pod) bool {
	for _, container := range pod.Spec.Containers {
		if tekton.IsStep(container.Name) && len(container.Command) > 0 && container.Command[0] == tekton.Entrypoint {
			return false
		}
	}
	return true
}
