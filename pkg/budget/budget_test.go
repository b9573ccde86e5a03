// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// files finds objects by kind and name.
type files map[string]string

func (f files) Find(_ context.Context, kind, _, name string) ([]byte, error) {
	if text, ok := f[kind+"/"+name]; ok {
		return []byte(text), nil
	}
	return nil, errors.New("there is none")
}

func environment(change func(*budget.Environment)) *budget.Environment {
	e := &budget.Environment{
		Settings: settings.Default(), Node: "node-1", TektonNamespace: "tekton-pipelines", ResultBytes: 71,
		Program: "kubectl tekton-sign",
		Tokens:  inject.TokenForm{Issuer: "https://kubernetes.default.svc.cluster.local", KeyID: 43, Signature: 342},
	}
	e.Settings.Backend = signing.BackendOIDCSAToken
	e.Way = budget.WayOf(e.Settings, inject.DeliveryImage, budget.CompressionNeeded, budget.Messages)
	change(e)
	return e
}

func task(steps, results int) string {
	spec := v1.Task{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "Task"},
		ObjectMeta: metav1.ObjectMeta{Name: "build", Namespace: "ci"},
	}
	for range steps {
		spec.Spec.Steps = append(spec.Spec.Steps, v1.Step{Image: "x", Script: "true"})
	}
	for i := range results {
		spec.Spec.Results = append(spec.Spec.Results, v1.TaskResult{Name: fmt.Sprintf("result-%d", i)})
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func subjects(t *testing.T, found files, object string) []*budget.Subject {
	t.Helper()
	all, err := budget.NewReader(found).Subjects(t.Context(), []byte(object), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.Mode = settings.Audit
	}
	return all
}

// TestJudge simulates Tasks of several sizes.
func TestJudge(t *testing.T) {
	never := func(e *budget.Environment) { e.Settings.Receipts = settings.ReceiptsNever }
	for name, c := range map[string]struct {
		steps, results int
		mode           settings.Enforcement
		change         func(*budget.Environment)
		state          budget.State
		effect         budget.Effect
		share          int
		fix            string // part of the first change
	}{
		"fits":             {2, 2, settings.Audit, never, budget.Fits, budget.Signs, 3072, ""},
		"too many results": {2, 20, settings.Audit, never, budget.TooLong, budget.Unsigned, 3072, "sidecar-logs"},
		"enforced":         {2, 32, settings.Enforce, never, budget.TooLong, budget.Fails, 3072, "sidecar-logs"},
		"covered":          {2, 25, settings.Audit, func(*budget.Environment) {}, budget.TooLong, budget.Receipt, 3072, ""},
		"never":            {10, 0, settings.Enforce, never, budget.Never, budget.Fails, 1024, "receipts"},
		"lost anyway":      {2, 60, settings.Audit, never, budget.Lost, budget.Loses, 3072, "sidecar-logs"},
		"by an init container": {7, 0, settings.Audit, func(e *budget.Environment) {
			never(e)
			e.Way.Delivery, e.Way.Compression = inject.DeliveryInit, budget.CompressionOff
		}, budget.Never, budget.Unsigned, 1365, "image volume"},
		"no form of tokens": {1, 1, settings.Audit, func(e *budget.Environment) { e.Tokens = inject.TokenForm{} },
			budget.Unknown, budget.Uncertain, 4096, ""},
		"receipts only": {12, 3, settings.Enforce, func(e *budget.Environment) {
			e.Settings.Backend = signing.BackendReceipt
			e.Way = budget.WayOf(e.Settings, inject.DeliveryInit, budget.CompressionNeeded, budget.Messages)
		}, budget.Fits, budget.Receipt, 877, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := environment(c.change)
			s := subjects(t, nil, task(c.steps, c.results))[0]
			s.Mode = c.mode
			got := e.Judge(s, false)
			if got.State != c.state || got.Effect != c.effect || got.Fit.Share != c.share {
				t.Errorf("got %s, %s, share %d; want %s, %s, %d (%s %+v)", got.State, got.Effect, got.Fit.Share, c.state,
					c.effect, c.share, got.Reason, got.Fit.Steps)
			}
			if c.fix != "" && (len(got.Changes) == 0 || !strings.Contains(got.Changes[0].Text, c.fix)) {
				t.Errorf("got the changes %+v, want the first to mention %q", got.Changes, c.fix)
			}
			if got.CanSign == (c.state == budget.Never || c.state == budget.Unknown) {
				t.Errorf("can sign: %v", got.CanSign)
			}
		})
	}
}

// TestChanges makes the cluster as each first change asks for it. Then the messages fit.
func TestChanges(t *testing.T) {
	for _, steps := range []int{1, 7, 9} {
		for _, results := range []int{0, 12} {
			e := environment(func(e *budget.Environment) {
				e.Settings.Receipts = settings.ReceiptsNever
				e.Way.Delivery = inject.DeliveryInit
			})
			got := e.Judge(subjects(t, nil, task(steps, results))[0], true)
			if got.State.Ok() != (len(got.Changes) == 0) {
				t.Errorf("%d steps, %d results: %s, with the changes %+v", steps, results, got.State, got.Changes)
			}
			for i, w := range got.Ways {
				if i%12 != 0 {
					continue
				}
				other := environment(func(o *budget.Environment) { o.Way = w.Way })
				if again := other.Judge(subjects(t, nil, task(steps, results))[0], false); again.State != w.State {
					t.Errorf("%d steps, %d results, %+v: %s in the table, %s by itself", steps, results, w.Way, w.State,
						again.State)
				}
			}
		}
	}
}

// TestPipeline checks that what cannot be read is never shown as fitting.
func TestPipeline(t *testing.T) {
	const pipeline = `{"apiVersion":"tekton.dev/v1","kind":"Pipeline","metadata":{"name":"ci","namespace":"ci"},"spec":{
		"tasks":[
			{"name":"by-name","taskRef":{"name":"build"}},
			{"name":"gone","taskRef":{"name":"gone"}},
			{"name":"remote","taskRef":{"resolver":"git"}},
			{"name":"parameter","taskRef":{"name":"$(params.task)"}},
			{"name":"custom","taskRef":{"apiVersion":"example.dev/v1","kind":"Wait","name":"x"}},
			{"name":"child","pipelineRef":{"name":"x"}},
			{"name":"matrix","matrix":{"params":[{"name":"p","value":["a"]}]},"taskSpec":{"steps":[{"image":"x"}]}},
			{"name":"action","taskSpec":{"steps":[{"ref":{"name":"lint"}}]}},
			{"name":"no-action","taskSpec":{"steps":[{"ref":{"name":"gone"}}]}},
			{"name":"remote-action","taskSpec":{"steps":[{"ref":{"resolver":"git"}}]}},
			{"name":"empty","taskSpec":{}}],
		"finally":[{"name":"last","taskSpec":{"steps":[{"image":"x"}]}}]}}`
	found := files{
		"Task/build": task(1, 1),
		"StepAction/lint": `{"apiVersion":"tekton.dev/v1beta1","kind":"StepAction","metadata":{"name":"lint"},
			"spec":{"image":"x","script":"true","results":[{"name":"found"}]}}`,
	}
	e, got := environment(func(*budget.Environment) {}), map[string]string{}
	for _, s := range subjects(t, found, pipeline) {
		item := e.Judge(s, false)
		got[item.PipelineTask] = strings.TrimSpace(string(item.State) + " " + item.Reason + item.Note)
	}
	want := map[string]string{
		"by-name": "fits", "last": "fits", "action": "fits",
		"gone":      "unknown Task gone cannot be read: there is none",
		"remote":    "unknown its Task comes from the resolver git, which is not asked here: name a TaskRun of it",
		"parameter": "unknown the name of its Task is a parameter: name a TaskRun of it",
		"custom":    "unknown it is a custom task, which has no pod of Tekton",
		"child":     "unknown it is a child Pipeline: name that one",
		"matrix":    "fits it has a matrix: each of its TaskRuns is like this one, with other values",
		"no-action": "unknown step 1: StepAction gone cannot be read: there is none",
		"remote-action": "unknown step 1: its StepAction comes from the resolver git, which is not asked here: " +
			"name a TaskRun of it",
		"empty": "unknown it has no steps",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tasks of the Pipeline (-want +got):\n%s", diff)
	}
}

// TestTaskRun simulates a TaskRun with the results that it emitted.
func TestTaskRun(t *testing.T) {
	tr := &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "one"}}
	tr.Status.PodName = "one-pod"
	tr.Status.CompletionTime = &metav1.Time{}
	tr.Status.TaskSpec = &v1.TaskSpec{
		Steps: []v1.Step{{Image: "x", OnError: v1.Continue}}, Results: []v1.TaskResult{{Name: "a"}, {Name: "logged"}},
	}
	message := `[{"key":"RESULT_MANIFEST","value":"v2:x","type":1},{"key":"a","value":"1234","type":1}]`
	tr.Status.Steps = []v1.StepState{{Container: "step-x", ContainerState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: message, ExitCode: 3},
	}}}
	tr.Status.Results = []v1.TaskRunResult{{Name: "logged", Type: v1.ResultsTypeString,
		Value: *v1.NewStructuredValues("12345678")}}
	got := environment(func(*budget.Environment) {}).Judge(budget.OfTaskRun(tr, "file.yaml"), false)
	if got.Source != budget.Seen || got.Results != 2 || got.ResultBytes != 12 || got.State != budget.Fits {
		t.Errorf("got %+v, want two results of 12 bytes", got)
	}
	// StartedAt, and the exit code with which Tekton goes on
	if want := 65 + len(`,{"key":"ExitCode","value":"3","type":3}`); got.Fit.Steps[0].Overhead != want {
		t.Errorf("got an overhead of %d bytes, want %d", got.Fit.Steps[0].Overhead, want)
	}

	tr.Status.Steps[0].Terminated.Message = "[{"
	got = environment(func(*budget.Environment) {}).Judge(budget.OfTaskRun(tr, ""), false)
	if got.State != budget.Unknown || got.Effect != budget.Uncertain || !strings.Contains(got.Reason, "cannot be read") {
		t.Errorf("got %+v, want it to be unknown: the message cannot be read, so the kubelet can have cut it", got)
	}
}

// TestLongestTokens: a cluster that has a longer key, too, may sign with that one, and then the evidence does not fit.
func TestLongestTokens(t *testing.T) {
	e := environment(func(e *budget.Environment) { e.Settings.Receipts = settings.ReceiptsNever })
	one := subjects(t, nil, task(6, 0))[0]
	before := e.Judge(one, false)
	e.LongestTokens = e.Tokens
	e.LongestTokens.Signature = 683 // RSA 4096
	if after := e.Judge(one, false); before.State != budget.Fits || after.State != budget.TooLong {
		t.Errorf("got %s, and %s with the longer key, want %s and %s", before.State, after.State, budget.Fits, budget.TooLong)
	}
}

// TestTooMuch leaves out what would take minutes to simulate, and never shows it as fitting.
func TestTooMuch(t *testing.T) {
	for name, text := range map[string]string{"steps": task(9000, 1), "results": task(1, 9000)} {
		got := environment(func(*budget.Environment) {}).Judge(subjects(t, nil, text)[0], true)
		if got.State != budget.Unknown || got.Effect != budget.Uncertain || !strings.Contains(got.Reason, "9000") {
			t.Errorf("%s: got %s, %s, %s", name, got.State, got.Effect, got.Reason)
		}
	}
}

// TestSubjectsRefuses refuses objects of other kinds, and hostile ones.
func TestSubjectsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"another kind":  `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}`,
		"another group": `{"apiVersion":"example.dev/v1","kind":"Task","metadata":{"name":"x"}}`,
		"twice":         `{"apiVersion":"tekton.dev/v1","kind":"Task","kind":"Pipeline"}`,
		"no object":     `[]`,
		"too many tasks": `{"apiVersion":"tekton.dev/v1","kind":"Pipeline","spec":{"tasks":[` +
			strings.Repeat(`{},`, 1000) + `{}]}}`,
		"too large": `{"apiVersion":"tekton.dev/v1","kind":"Task","x":"` + strings.Repeat("y", 8<<20) + `"}`,
	} {
		if all, err := budget.NewReader(files{}).Subjects(t.Context(), []byte(text), ""); err == nil {
			t.Errorf("%s: got %d subjects, want an error", name, len(all))
		}
	}
}
