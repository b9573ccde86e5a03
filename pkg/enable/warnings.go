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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Topic is what a warning is about.
type Topic string

// The topics.
const (
	TopicWeaker      Topic = "weaker"      // settings that are weaker than they should be, or than before
	TopicControllers Topic = "controllers" // of Tekton, that may be in conflict
	TopicTokens      Topic = "tokens"      // accounts that will not get the tokens that they get now
	TopicTaskRuns    Topic = "taskruns"    // that will fail
	TopicBackend     Topic = "backend"     // what the backend lacks
	TopicKept        Topic = "kept"        // settings that stay
)

// Warning is something that the user should know before agreeing to a plan.
type Warning struct {
	Topic Topic
	Text  string // a sentence or two
}

func warningsAbout(topic Topic, texts ...string) []Warning {
	var warnings []Warning
	for _, text := range texts {
		warnings = append(warnings, Warning{topic, text})
	}
	return warnings
}

// warner finds what the user should know before agreeing to a plan.
type warner struct {
	Clients
	plan   Plan
	before settings.Settings // of the cluster
}

// warnings lists what the plan gives up, and which TaskRuns will fail because of it.
func (w warner) warnings(ctx context.Context) ([]Warning, error) {
	warnings := warningsAbout(TopicWeaker, w.weaker()...)
	if !w.plan.Environment.OthersSeen {
		warnings = append(warnings, Warning{TopicControllers, "you may not list Deployments and StatefulSets in all " +
			"namespaces: no other controller of Tekton was looked for. " +
			"If there is one, its TaskRuns in the namespaces in scope will fail"})
	}
	lost, err := w.tokenWarnings(ctx)
	if err != nil {
		return nil, err
	}
	failing, err := w.failingTaskRuns(ctx)
	warnings = append(warnings, warningsAbout(TopicTokens, lost...)...)
	return append(warnings, warningsAbout(TopicTaskRuns, failing...)...), err
}

// weaker lists in what the settings of the plan are weaker than they should be, or than before.
func (w warner) weaker() []string {
	var warnings []string
	before, after := w.before, w.plan.Settings
	if after.Enforcement == settings.Enforce && after.Policies == settings.PoliciesStandard {
		warnings = append(warnings, "results are enforced with policies standard: "+
			"anyone who may edit a namespace can create a pod that looks like a TaskRun's, "+
			"or get into one and sign anything, and anyone who may update taskruns/status can write it. "+
			"--policies strict prevents it")
	}
	if before.Backend == signing.BackendNone {
		return warnings
	}
	if before.Enforcement == settings.Enforce && after.Enforcement == settings.Audit {
		warnings = append(warnings,
			"results are not enforced any more: a TaskRun whose results do not verify succeeds, and they are used")
	}
	if before.Policies == settings.PoliciesStrict && after.Policies != settings.PoliciesStrict {
		warnings = append(warnings, "the strict policies hold in fewer namespaces than before")
	}
	return warnings
}

// failingTaskRuns warns of TaskRuns that run unsigned in namespaces where results will be enforced.
func (w warner) failingTaskRuns(ctx context.Context) ([]string, error) {
	failing, err := w.unsignedPods(ctx)
	switch {
	case IsForbidden(err):
		return []string{fmt.Sprintf("TaskRuns that are running unsigned in the namespaces whose results are "+
			"enforced from now on will fail. They were not counted: %v", err)}, nil
	case err != nil || len(failing) == 0:
		return nil, err
	}
	return []string{fmt.Sprintf("TaskRuns that run in pods which do not sign, in namespaces whose results are "+
		"enforced from now on, will fail: %d. %s", len(failing), firstFew(failing))}, nil
}

// firstFew lists the first few names, in a sentence.
func firstFew(names []string) string {
	const few = 3
	if len(names) <= few {
		return "These are " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("The first are %s", strings.Join(names[:few], ", "))
}

// podPage is how many pods one answer of the API server may hold.
const podPage = 250

// unsignedPods lists the TaskRuns (namespace/name) whose pods do not sign and have not ended, in the namespaces where
// the plan turns enforcement on.
func (w warner) unsignedPods(ctx context.Context) ([]string, error) {
	affected, err := w.newlyEnforced(ctx)
	if err != nil || len(affected) == 0 {
		return nil, err
	}
	var found []string
	options := metav1.ListOptions{
		LabelSelector: pipeline.TaskRunLabelKey, FieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
		Limit: podPage,
	}
	for {
		page, err := w.Kube.CoreV1().Pods("").List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("looking for TaskRuns that run unsigned: %w", err)
		}
		for i := range page.Items {
			if pod := &page.Items[i]; affected[pod.Namespace] && !w.signs(pod) {
				found = append(found, pod.Namespace+"/"+pod.Labels[pipeline.TaskRunLabelKey])
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return found, nil
		}
	}
}

// newlyEnforced returns the names of the namespaces in which the plan turns enforcement on.
func (w warner) newlyEnforced(ctx context.Context) (map[string]bool, error) {
	list, err := w.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	reserved := settings.Reserved(w.plan.Environment.TektonNamespace)
	enforced := func(s settings.Settings, labels map[string]string) bool {
		return s.Backend != signing.BackendNone && s.Scope.Matcher(reserved)(labels) &&
			s.EnforcementOf(labels) == settings.Enforce
	}
	found := map[string]bool{}
	for _, ns := range list.Items {
		if enforced(w.plan.Settings, ns.Labels) && !enforced(w.before, ns.Labels) {
			found[ns.Name] = true
		}
	}
	return found, nil
}

// signs reports whether what a TaskRun's pod signs can count where results are enforced.
func (w warner) signs(pod *corev1.Pod) bool {
	return wrapped(pod) || w.plan.Settings.AcceptsTektonIn(settings.Enforce) && inject.TektonSigns(pod)
}

// wrapped reports whether the signer wraps every step of a TaskRun's pod.
func wrapped(pod *corev1.Pod) bool {
	for _, container := range pod.Spec.Containers {
		if tekton.IsStep(container.Name) && len(container.Command) > 0 && container.Command[0] == tekton.Entrypoint {
			return false
		}
	}
	return true
}
