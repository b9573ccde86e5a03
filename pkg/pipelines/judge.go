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
	CheckPipeline verify.CheckID = "pipeline"         // what ran is the pipeline of the spec
	CheckChildren verify.CheckID = "children"         // the children are the PipelineRun's own, one for each run that the pipeline asks for
	CheckTask     verify.CheckID = "task"             // each ran the Task that the pipeline names
	CheckWhen     verify.CheckID = "when"             // and its conditions let it run
	CheckInputs   verify.CheckID = "inputs"           // with the values that the verified children before it gave
	CheckResults  verify.CheckID = "pipeline-results" // the PipelineRun's results are those of its verified children
)

var checkOrder = []verify.CheckID{CheckPipeline, CheckChildren, CheckTask, CheckWhen, CheckInputs, CheckResults}

// Check is one look at one thing of a PipelineRun.
type Check struct {
	verify.Check `json:",inline"`
	Child        string `json:"child,omitempty"` // name of the child concerned, or of the task where there is none
}

// Child is what status.childReferences names, as it was found.
type Child struct {
	Kind, Name   string
	PipelineTask string // by the reference
	Missing      string // why it was not found or read; empty if it was
	Verdict      verify.Verdict
	Unrecorded   bool // see verify.Result
	// One of these, unless it is missing.
	TaskRun     *v1.TaskRun
	PipelineRun *v1.PipelineRun
	CustomRun   *CustomRun
}

// CustomRun is what is read of one.
type CustomRun struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Params v1.Params `json:"params"`
	} `json:"spec"`
	Status struct {
		Results []CustomResult `json:"results"`
	} `json:"status"`
}

// CustomResult is one of its results.
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

// UID returns the child's, none if it is missing.
func (c *Child) UID() types.UID {
	if object := c.object(); object != nil {
		return object.GetUID()
	}
	return ""
}

// Family is a PipelineRun with its children.
type Family struct {
	PipelineRun     *v1.PipelineRun
	Children        []Child         // in the order of status.childReferences
	Strays          []metav1.Object // those that name the PipelineRun as owner, and that its status does not name
	AllowCustomRuns bool            // somebody trusts their controllers
}

// Judgement is what was found about a PipelineRun as a whole.
type Judgement struct {
	Verdict verify.Verdict
	Reason  string
	Message string
	Checks  []Check
	Caveats []string
	// Unrecorded says that it is VERIFIED but for the proof that the pods of some children were theirs: see verify.WithUnrecorded.
	Unrecorded bool
}

// Reasons that are no check's id.
const (
	ReasonChild      = "child"               // a child's verdict is the PipelineRun's
	ReasonCustomRuns = "custom-runs-allowed" // verified but for custom runs, whose controllers somebody trusts
)

// judge judges a PipelineRun.
type judge struct {
	Family
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

// findings are what the checks find.
type findings struct {
	checks  []Check
	caveats []string
	bad     map[string]bool // children, and tasks, of which a check of children did not pass
}

func (f *findings) add(id verify.CheckID, status verify.Status, child, expected, got, message string) {
	f.checks = append(f.checks, Check{
		Check: verify.Check{ID: id, Status: status, Expected: expected, Got: got, Message: message}, Child: child,
	})
	if id == CheckChildren && isBad(status) {
		f.bad[child] = true
	}
}

// passed adds a check that passed unless one with the same id did not.
func (f *findings) passed(id verify.CheckID, message string) {
	if !slices.ContainsFunc(f.checks, func(c Check) bool { return c.ID == id && isBad(c.Status) }) {
		f.add(id, verify.Pass, "", "", "", message)
	}
}

// budget counts what grows with the product of two things.
type budget struct {
	looks    int // at producers
	compared int // parameters of a matrix
}

// Caps of what one PipelineRun may cost where that grows with the product of two things.
const (
	maxLooks    = 1 << 17
	maxCompared = 1 << 22
)

// Judge looks at a PipelineRun. Its verdict is the worst of its children and of its own checks.
func Judge(f Family) Judgement {
	j := &judge{
		Family: f, findings: findings{bad: map[string]bool{}}, spec: f.PipelineRun.Status.PipelineSpec, outputs: Outputs{},
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
			j.add(CheckPipeline, verify.Unknown, "", "", "", "its status does not hold the pipeline that ran: nothing can be compared with it")
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

// pipeline compares the pipeline that ran with the spec, as far as the spec holds it: Tekton puts parameters in, nothing else.
func (j *judge) pipeline() {
	spec := j.PipelineRun.Spec.PipelineSpec
	if spec == nil {
		j.caveats = append(j.caveats, "which pipeline ran is known from the status alone")
		return
	}
	if difference := ComparePipelines(spec, j.spec); difference != nil {
		j.add(CheckPipeline, verify.Fail, "", difference.Expected, difference.Got,
			"the pipeline that ran is not that of the spec: "+difference.What)
		return
	}
	j.passed(CheckPipeline, "the pipeline that ran has the tasks and references of the spec")
}

// ComparePipelines returns how the resolved pipeline differs from the one in the spec in what no parameter can change: the tasks,
// what each takes of others, and the results.
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
			return &Difference{"what task " + task.Name + " takes of others", want, got}
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

// referencesOf lists what a task takes of others, by parameter.
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
		out.Verdict = verify.Verified // beside it a child without results is neutral
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
		if v := verdictOf(c.Status); v != "" && (verify.Worse(out.Verdict, v) != out.Verdict || out.Reason == ReasonChild && v == out.Verdict) {
			out.Verdict, out.Reason, out.Message = v, string(c.ID), c.Message
		}
	}
	if out.Verdict == verify.Verified && slices.ContainsFunc(j.Children, func(c Child) bool { return c.CustomRun != nil }) {
		out.Reason = ReasonCustomRuns
	}
	out.Unrecorded = out.Verdict == verify.Verified && slices.ContainsFunc(j.Children, func(c Child) bool { return c.Unrecorded })
	if out.Verdict == verify.NoResults && out.Reason == "" {
		out.Message = "none of its children has results"
	}
	return out
}

// verdictOf returns the verdict that a check leads to, none if it leaves it alone.
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
