// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// The checks of a PipelineRun, in the order in which they are reported.
const (
	CheckPipeline verify.CheckID = "pipeline" // the pipeline in the status is that of the spec
	// the children belong to the PipelineRun, one for each run of the pipeline
	CheckChildren verify.CheckID = "children"
	CheckTask     verify.CheckID = "task"             // each child ran the Task that the pipeline names
	CheckWhen     verify.CheckID = "when"             // its when expressions allowed it to run
	CheckInputs   verify.CheckID = "inputs"           // its values are those of verified children
	CheckResults  verify.CheckID = "pipeline-results" // the PipelineRun's results are those of verified children
)

var checkOrder = []verify.CheckID{CheckPipeline, CheckChildren, CheckTask, CheckWhen, CheckInputs, CheckResults}

// Check is a check of a PipelineRun.
type Check struct {
	verify.Check `json:",inline"`
	Child        string `json:"child,omitempty"` // name of the child, or of the task without one
}

// Child is a child in status.childReferences.
type Child struct {
	Kind, Name   string
	PipelineTask string // from the reference
	Missing      string // why it was not found or read, or empty
	Verdict      verify.Verdict
	Unrecorded   bool // see verify.Result
	// One of these is set, unless the child is missing.
	TaskRun     *v1.TaskRun
	PipelineRun *v1.PipelineRun
	CustomRun   *CustomRun
}

// CustomRun is the part of a custom run that is read.
type CustomRun struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Params v1.Params `json:"params"`
	} `json:"spec"`
	Status struct {
		Results []CustomResult `json:"results"`
	} `json:"status"`
}

// CustomResult is a result of a custom run.
type CustomResult struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (c *Child) object() metav1.Object {
	switch {
	case c.TaskRun != nil:
		return c.TaskRun
	case c.PipelineRun != nil:
		return c.PipelineRun
	case c.CustomRun != nil:
		return c.CustomRun
	}
	return nil
}

// UID returns the child's UID, or an empty one if it is missing.
func (c *Child) UID() types.UID {
	if object := c.object(); object != nil {
		return object.GetUID()
	}
	return ""
}

// Tree is a PipelineRun with its children.
type Tree struct {
	PipelineRun     *v1.PipelineRun
	Children        []Child         // in the order of status.childReferences
	Strays          []metav1.Object // objects with the PipelineRun as an owner that its status does not name
	AllowCustomRuns bool            // their controllers are trusted
}

// Judgement is the verdict about a PipelineRun, with its checks.
type Judgement struct {
	Verdict verify.Verdict
	Reason  string
	Message string
	Checks  []Check
	Caveats []string
	// Unrecorded is whether it is VERIFIED without proof that the pods of all children were theirs. See
	// verify.WithUnrecorded.
	Unrecorded bool
}

// Reasons that are not the ID of a check.
const (
	ReasonChild      = "child"               // the verdict is that of a child
	ReasonCustomRuns = "custom-runs-allowed" // verified, apart from custom runs with trusted controllers
)

// judge judges a PipelineRun.
type judge struct {
	Tree
	findings
	budget
	spec       *v1.PipelineSpec
	outputs    Outputs
	tasks      tasks
	skipped    map[string]bool // tasks that the PipelineRun lists as skipped
	producers  *producers
	comparer   *comparer
	conditions *conditions
}

// findings are the results of the checks.
type findings struct {
	checks  []Check
	caveats []string
	bad     map[string]bool // children and tasks that failed a check of children
}

func (f *findings) add(id verify.CheckID, status verify.Status, child, expected, got, message string) {
	f.checks = append(f.checks, Check{
		Check: verify.Check{ID: id, Status: status, Expected: expected, Got: got, Message: message}, Child: child,
	})
	if id == CheckChildren && isBad(status) {
		f.bad[child] = true
	}
}

// passed adds a check that passed, unless one with the same ID did not pass.
func (f *findings) passed(id verify.CheckID, message string) {
	if !slices.ContainsFunc(f.checks, func(c Check) bool { return c.ID == id && isBad(c.Status) }) {
		f.add(id, verify.Pass, "", "", "", message)
	}
}

// budget counts work that grows with the product of two numbers.
type budget struct {
	lookups  int // of producers
	compared int // parameters of matrices
}

// Limits of that work for one PipelineRun.
const (
	maxLookups  = 1 << 17
	maxCompared = 1 << 22
)

// Judge judges a PipelineRun. The verdict is the worst one among those of its children and its own checks.
func Judge(f Tree) Judgement {
	j := &judge{
		Tree: f, findings: findings{bad: map[string]bool{}}, spec: f.PipelineRun.Status.PipelineSpec, outputs: Outputs{},
		skipped: map[string]bool{}, conditions: newConditions(),
	}
	j.comparer = &comparer{outputs: j.outputs}
	j.run()
	slices.SortStableFunc(j.checks, func(a, b Check) int {
		return slices.Index(checkOrder, a.ID) - slices.Index(checkOrder, b.ID)
	})
	return j.judgement()
}

func (j *judge) run() {
	if !j.completed() {
		j.add(CheckChildren, verify.Unknown, "", "", "", "the PipelineRun is not completed: more children may follow")
	}
	if j.spec == nil {
		if len(j.Children)+len(j.Strays)+len(j.PipelineRun.Status.Results) > 0 {
			j.add(CheckPipeline, verify.Unknown, "", "", "",
				"its status does not contain the pipeline that ran: nothing can be compared")
		}
		return
	}
	j.tasks = tasksOf(j.spec, j.Children)
	for _, s := range j.PipelineRun.Status.SkippedTasks {
		j.skipped[s.Name] = true
	}
	j.producers = newProducers(j.spec, j.PipelineRun.Spec.Workspaces)
	j.pipeline()
	j.children()
	j.collect()
	for i := range j.Children {
		j.ran(&j.Children[i])
	}
	j.results()
}

func (j *judge) completed() bool {
	return !j.PipelineRun.Status.GetCondition(apis.ConditionSucceeded).IsUnknown()
}

func (j *judge) succeeded() bool {
	return j.PipelineRun.Status.GetCondition(apis.ConditionSucceeded).IsTrue()
}

func isBad(s verify.Status) bool {
	return s == verify.Fail || s == verify.Unknown || s == verify.Missing
}

// pipeline compares the pipeline that ran with the one in the spec, if the spec has it. Tekton changes it only by
// replacing parameters.
func (j *judge) pipeline() {
	spec := j.PipelineRun.Spec.PipelineSpec
	if spec == nil {
		j.caveats = append(j.caveats, "only the status shows which pipeline ran")
		return
	}
	if difference := ComparePipelines(spec, j.spec); difference != nil {
		j.add(CheckPipeline, verify.Fail, "", difference.Expected, difference.Got,
			"the pipeline that ran is not that of the spec: "+difference.What)
		return
	}
	j.passed(CheckPipeline, "the pipeline that ran has the tasks and references of the spec")
}

// ComparePipelines returns how the resolved pipeline differs from the one in the spec in what parameters cannot
// change: the tasks, what each takes from others, and the results.
func ComparePipelines(spec, resolved *v1.PipelineSpec) *Difference {
	if want, got := namesOf(spec), namesOf(resolved); want != got {
		return &Difference{"the tasks", want, got}
	}
	tasks := map[string]*v1.PipelineTask{}
	for _, task := range Tasks(resolved) {
		if tasks[task.Name] == nil {
			tasks[task.Name] = &task
		}
	}
	for _, task := range Tasks(spec) {
		if want, got := referencesOf(&task), referencesOf(tasks[task.Name]); want != got {
			return &Difference{"what task " + task.Name + " takes from others", want, got}
		}
	}
	if want, got := declared(spec), declared(resolved); want != got {
		return &Difference{"the results", want, got}
	}
	return nil
}

func namesOf(spec *v1.PipelineSpec) string {
	var names []string
	for _, task := range Tasks(spec) {
		names = append(names, task.Name)
	}
	return strings.Join(names, ", ")
}

// referencesOf lists what a task takes from other tasks, by parameter.
func referencesOf(task *v1.PipelineTask) string {
	var all []string
	for _, p := range task.Params {
		variables, _ := p.GetVarSubstitutionExpressions()
		for _, ref := range v1.NewResultRefs(variables) {
			all = append(all, fmt.Sprintf("%s from %s of %s", p.Name, ref.Result, ref.PipelineTask))
		}
	}
	if len(all) == 0 {
		return nothing
	}
	return strings.Join(all, ", ")
}

func declared(spec *v1.PipelineSpec) string {
	var all []string
	for _, result := range spec.Results {
		all = append(all, result.Name+"="+show(result.Value))
	}
	return strings.Join(all, ", ")
}

// judgement returns the verdict.
func (j *judge) judgement() Judgement {
	out := Judgement{Checks: j.checks, Caveats: j.caveats, Verdict: verify.NoResults}
	if slices.ContainsFunc(j.Children, func(c Child) bool { return c.Verdict == verify.Verified }) {
		out.Verdict = verify.Verified // a child without results is neutral beside it
	}
	for i := range j.Children {
		c := &j.Children[i]
		if c.Verdict == "" || c.Verdict == verify.NoResults || verify.Worse(out.Verdict, c.Verdict) == out.Verdict {
			continue
		}
		out.Verdict, out.Reason = c.Verdict, ReasonChild
		if !slices.Contains(verify.Verdicts(), c.Verdict) {
			out.Verdict = verify.Failed
		}
		out.Message = fmt.Sprintf("%s %s is %s", c.Kind, c.Name, c.Verdict)
	}
	for _, c := range j.checks {
		if v := verdictOf(c.Status); v != "" && (verify.Worse(out.Verdict, v) != out.Verdict || out.Reason == ReasonChild &&
			v == out.Verdict) {
			out.Verdict, out.Reason, out.Message = v, string(c.ID), c.Message
		}
	}
	if out.Verdict == verify.Verified &&
		slices.ContainsFunc(j.Children, func(c Child) bool { return c.CustomRun != nil }) {
		out.Reason = ReasonCustomRuns
	}
	out.Unrecorded = out.Verdict == verify.Verified &&
		slices.ContainsFunc(j.Children, func(c Child) bool { return c.Unrecorded })
	if out.Verdict == verify.NoResults && out.Reason == "" {
		out.Message = "none of its children has results"
	}
	return out
}

// verdictOf returns the verdict for a check, or an empty one if the check does not change it.
func verdictOf(s verify.Status) verify.Verdict {
	switch s {
	case verify.Fail:
		return verify.Failed
	case verify.Unknown:
		return verify.Indeterminate
	case verify.Missing:
		return verify.Unsigned
	case verify.Pass, verify.Warn, verify.Note:
		return ""
	}
	return verify.Failed
}
