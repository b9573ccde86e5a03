// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/kmeta"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// admit checks the children whose values the created object uses, and then the values.
func (p *pipelineOf) admit(ctx context.Context, plural string, c *consumer) error {
	name := c.Labels[pipeline.PipelineTaskLabelKey]
	task := pipelines.FindTask(p.spec, name)
	if task == nil {
		return never("%s: expected its label %s to name a task of PipelineRun %s, got %q", c.Name,
			pipeline.PipelineTaskLabelKey, p.run.Name, name)
	}
	producers, err := pipelines.Producers(p.spec, task, p.run.Spec.Workspaces)
	if err != nil {
		return never("task %s: %s", name, err)
	}
	if len(producers) == 0 {
		return nil
	}
	if p.run.Status.PipelineSpec == nil {
		return later("task %s takes results, and the status of PipelineRun %s does not hold its pipeline yet", name,
			p.run.Name)
	}
	outputs := pipelines.Outputs{}
	reads := 0
	for _, producer := range producers {
		if outputs[producer], err = p.output(ctx, task, producer, &reads); err != nil {
			return err
		}
	}
	return compareConsumer(plural, task, c, outputs)
}

// output returns the output of a task whose results another one uses.
func (p *pipelineOf) output(ctx context.Context, consumer *v1.PipelineTask, name string, reads *int) (pipelines.Output,
	error) {
	task := pipelines.FindTask(p.spec, name)
	var references []v1.ChildStatusReference
	for _, reference := range p.run.Status.ChildReferences {
		if reference.PipelineTaskName == name {
			references = append(references, reference)
		}
	}
	*reads += len(references)
	takes := fmt.Sprintf("task %s takes results of task %s", consumer.Name, name)
	wanted, known := pipelines.Runs(task)
	switch {
	case len(references) == 0:
		return p.unnamed(ctx, task, takes)
	case known && len(references) > wanted:
		return pipelines.Output{}, never(
			"%s: expected %d of its children in the status of PipelineRun %s, got %d, such as %s and %s",
			takes, wanted, p.run.Name, len(references), references[0].Name, references[len(references)-1].Name)
	case known && len(references) < wanted:
		return pipelines.Output{}, later("%s, of which the status of PipelineRun %s names %d children of %d yet",
			takes, p.run.Name, len(references), wanted)
	case *reads > maxProducers:
		return pipelines.Output{}, never("%s: expected it to take results of at most %d children, got %d", takes,
			maxProducers, *reads)
	}
	return p.outputOf(ctx, task, references, takes)
}

// unnamed returns the output of a TaskRun that Tekton would use before the status names it: one with the expected
// name. Tekton writes the status after it has started tasks, so a foreign TaskRun of that name may never be named.
func (p *pipelineOf) unnamed(ctx context.Context, task *v1.PipelineTask, takes string) (pipelines.Output, error) {
	name := kmeta.ChildName(p.run.Name, "-"+task.Name)
	if !task.IsMatrixed() {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		_, err := p.handler.Reader.Get(ctx, v1.SchemeGroupVersion.WithResource("taskruns"), p.namespace, name)
		if !apierrors.IsNotFound(err) {
			return p.outputOf(ctx, task, []v1.ChildStatusReference{{
				TypeMeta: runtime.TypeMeta{Kind: pipelines.KindTaskRun}, Name: name, PipelineTaskName: task.Name,
			}}, takes)
		}
	}
	return pipelines.Output{}, later("%s, of which the status of PipelineRun %s names no child yet", takes, p.run.Name)
}

// outputOf returns the output of the children that the status names for a task.
func (p *pipelineOf) outputOf(
	ctx context.Context, task *v1.PipelineTask, references []v1.ChildStatusReference, takes string,
) (pipelines.Output, error) {
	var runs []*v1.TaskRun
	seen := map[string]bool{}
	for _, reference := range references {
		what := fmt.Sprintf("%s, %s %s", takes, reference.Kind, reference.Name)
		if seen[reference.Name] {
			return pipelines.Output{}, never("%s: the status of PipelineRun %s names it twice", what, p.run.Name)
		}
		seen[reference.Name] = true
		switch reference.Kind {
		case pipelines.KindTaskRun:
			tr, err := p.taskRun(ctx, task, reference.Name, what)
			if err != nil {
				return pipelines.Output{}, err
			}
			runs = append(runs, tr)
		case pipelines.KindCustomRun:
			return p.customRun(ctx, task, reference.Name, what)
		default:
			return pipelines.Output{}, never("%s: results of this kind are not verified", what)
		}
	}
	return pipelines.OutputOf(task.IsMatrixed(), runs...), nil
}

// taskRun returns a TaskRun if it is the PipelineRun's own, completed and verified.
func (p *pipelineOf) taskRun(ctx context.Context, task *v1.PipelineTask, name, what string) (*v1.TaskRun, error) {
	tr := &v1.TaskRun{}
	stored, err := p.getStored(ctx, "taskruns", name, tr)
	if err != nil {
		return nil, because(what, err)
	}
	if err := p.own(tr, task.Name, what); err != nil {
		return nil, err
	}
	if err := ranAsNamed(task, tr, what); err != nil {
		return nil, err
	}
	if tr.Status.GetCondition(apis.ConditionSucceeded).IsUnknown() {
		return nil, later("%s, is not completed", what)
	}
	ok, why, err := p.handler.Judge.Verified(ctx, stored, tr)
	switch {
	case err != nil:
		return nil, later("%s: %s", what, err)
	case !ok:
		return nil, never("%s, is not verified: %s", what, why)
	}
	return tr, nil
}

// ranAsNamed refuses a TaskRun that ran something different from the pipeline, as far as that does not depend on
// other tasks.
func ranAsNamed(task *v1.PipelineTask, tr *v1.TaskRun, what string) error {
	difference, err := pipelines.Outputs(nil).CompareTask(task, tr)
	switch {
	case err != nil:
		return never("%s: %s", what, err)
	case difference != nil:
		return never("%s, ran another Task than the pipeline names: %s: expected %s, got %s", what, difference.What,
			display.Short(difference.Expected, maxValue), display.Short(difference.Got, maxValue))
	}
	differences, err := pipelines.CompareKnown(task, tr.Spec.Params)
	switch {
	case err != nil:
		return never("%s: %s", what, err)
	case len(differences) > 0:
		d := differences[0]
		return never("%s, ran with another parameter %s than the pipeline gives: expected %s, got %s", what, d.What,
			display.Short(d.Expected, maxValue), display.Short(d.Got, maxValue))
	}
	return nil
}

// because adds which object an error is about.
func because(what string, err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return &refusal{r.reason, r.code, display.Cut(consumerMessage("%s: ", what)+r.message, 2*maxMessage)}
	}
	return err
}

// own refuses an object that is not the PipelineRun's own child for a task.
func (p *pipelineOf) own(object metav1.Object, task, what string) error {
	if !pipelines.Controls(p.run.UID, object) {
		return never("%s: expected it to be controlled by PipelineRun %s, UID %s, got %s",
			what, p.run.Name, p.run.UID, pipelines.Controller(object))
	}
	if got := object.GetLabels()[pipeline.PipelineTaskLabelKey]; got != task {
		return never("%s: expected its label %s to be %s, got %q", what, pipeline.PipelineTaskLabelKey, task, got)
	}
	return nil
}

// customRun returns the results of a custom run with a trusted controller.
func (p *pipelineOf) customRun(ctx context.Context, task *v1.PipelineTask, name, what string) (pipelines.Output,
	error) {
	apiVersion, kind := customTask(task)
	if !p.handler.Custom.TrustedCustomTask(apiVersion, kind) {
		return pipelines.Output{}, never(
			"%s: nobody verifies the results of a custom run, and the settings do not name the controller of %s %s",
			what, apiVersion, kind)
	}
	run := &pipelines.CustomRun{}
	if err := p.get(ctx, "customruns", name, run); err != nil {
		return pipelines.Output{}, because(what, err)
	}
	if err := p.own(run, task.Name, what); err != nil {
		return pipelines.Output{}, err
	}
	return pipelines.CustomOutput(run), nil
}

func customTask(task *v1.PipelineTask) (apiVersion, kind string) {
	switch {
	case task.TaskRef != nil:
		return task.TaskRef.APIVersion, string(task.TaskRef.Kind)
	case task.TaskSpec != nil:
		return task.TaskSpec.APIVersion, task.TaskSpec.Kind
	}
	return "", ""
}

// compareConsumer compares the values in the created object with the children's outputs. Messages have digests of
// values, because an event must not publish a value that was refused.
func compareConsumer(plural string, task *v1.PipelineTask, c *consumer, outputs pipelines.Outputs) error {
	if err := outputs.CheckSize(task); err != nil {
		return never("task %s: %s", task.Name, err)
	}
	applied := outputs.Apply(task)
	refusing, err := pipelines.Refusing(applied)
	switch {
	case err != nil:
		return never("task %s: %s", task.Name, err)
	case refusing != nil:
		return never("task %s is not to run: a when expression does not hold for the verified results", task.Name)
	}
	differences, err := pipelines.CompareRun(applied, c.Spec.Params)
	if err != nil {
		return never("task %s: %s", task.Name, err)
	}
	if len(differences) > 0 {
		d := differences[0]
		return never("task %s, parameter %s: expected the value of the verified results, %s, got %s",
			task.Name, d.What, digest(d.Expected), digest(d.Got))
	}
	if plural != "taskruns" || !pipelines.TaskTakes(task) {
		return nil
	}
	d, err := outputs.CompareTask(task,
		&v1.TaskRun{Spec: v1.TaskRunSpec{TaskRef: c.Spec.TaskRef, TaskSpec: c.Spec.TaskSpec}})
	switch {
	case err != nil:
		return never("task %s: %s", task.Name, err)
	case d != nil:
		return never("task %s, %s: expected what the verified results give, %s, got %s", task.Name, d.What,
			digest(d.Expected), digest(d.Got))
	}
	return nil
}

func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// SealJudge trusts the add-on's condition if Proves confirms that the add-on set it. The add-on soon replaces other
// ones.
type SealJudge struct {
	Proves func(ctx context.Context, stored *unstructured.Unstructured) bool
}

// Verified implements ChildJudge.
func (j SealJudge) Verified(ctx context.Context, stored *unstructured.Unstructured, tr *v1.TaskRun) (ok bool,
	why string, err error) {
	switch {
	case !j.Proves(ctx, stored):
		return false, "", fmt.Errorf("its condition %s is not the add-on's, which judges it soon", verify.ConditionType)
	case verify.AreResultsVerified(&tr.Status):
		return true, "", nil
	case verify.IsResultsVerificationComplete(&tr.Status):
		return false, tr.Status.GetCondition(verify.ConditionType).Message, nil
	}
	return false, "", fmt.Errorf("its condition %s holds no verdict yet", verify.ConditionType)
}
