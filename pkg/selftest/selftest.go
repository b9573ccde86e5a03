// SPDX-License-Identifier: Apache-2.0

// Package selftest shows that signing works in a namespace: it runs a canary TaskRun there, verifies it, wants a copy
// with a changed result to be refused, and deletes the canary.
//
// Every string may hold text from the cluster: escape it before you show it to a person.
package selftest

import (
	"context"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// StepID names a step of the test.
type StepID string

// The steps, in order. Later steps are skipped after one that failed, except for StepCleanUp.
const (
	StepStart     StepID = "start"     // the canary is created, and its pod starts
	StepRun       StepID = "run"       // it ends with success, and has its result
	StepVerify    StepID = "verify"    // the plugin verifies it
	StepCondition StepID = "condition" // the add-on has come to the same verdict
	StepTampered  StepID = "tampered"  // a copy with a changed result is refused
	StepCleanUp   StepID = "clean-up"  // the canary is deleted
)

// Steps lists every step.
func Steps() []StepID {
	return []StepID{StepStart, StepRun, StepVerify, StepCondition, StepTampered, StepCleanUp}
}

// Title is a statement that is true if the step passes.
func (s StepID) Title() string {
	return map[StepID]string{
		StepStart: "the canary TaskRun starts", StepRun: "it succeeds", StepVerify: "its result verifies",
		StepCondition: "the add-on has verified it, too", StepTampered: "a copy with a changed result is refused",
		StepCleanUp: "the canary is deleted",
	}[s]
}

// State is the outcome of a step.
type State string

// The states.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// States lists every state.
func States() []State { return []State{Passed, Failed, Skipped} }

// Step is the outcome of one step.
type Step struct {
	ID           StepID `json:"id"`
	State        State  `json:"state"`
	Message      string `json:"message,omitempty"`
	Expected     string `json:"expected,omitempty"`
	Got          string `json:"got,omitempty"`
	Next         string `json:"next,omitempty"` // what to do
	Milliseconds int    `json:"milliseconds,omitempty"`
}

// Result is the outcome for one namespace.
type Result struct {
	Namespace string            `json:"namespace"`
	State     State             `json:"state"`             // passed or failed
	TaskRun   string            `json:"taskRun,omitempty"` // name of the canary
	Backend   signing.Backend   `json:"backend,omitempty"`
	Assurance signing.Assurance `json:"assurance,omitempty"`
	Steps     []Step            `json:"steps"`
}

// Tester runs the test.
type Tester struct {
	Client dynamic.Interface
	// Verify verifies a TaskRun of the cluster, given as JSON.
	Verify func(ctx context.Context, taskRun []byte) (verify.Result, error)
	Image  string // of the signer, whose program writes the result
	// ServiceAccount runs the canaries; empty: the namespace's default.
	ServiceAccount string
	Timeout        time.Duration // for one canary, from its creation to its end
	Keep           bool          // do not delete the canaries
	Now            func() time.Time
	// OnStep is called after each step, by several goroutines at once.
	OnStep func(namespace string, s Step)
}

// parallel is how many canaries run at the same time.
const parallel = 4

// Run tests each namespace. If ctx ends, what was created is deleted, and the rest fails.
func (t *Tester) Run(ctx context.Context, namespaces []string) []Result {
	results := make([]Result, len(namespaces))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, namespace := range namespaces {
		group.Go(func() error {
			results[i] = t.namespace(ctx, namespace)
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
	return results
}

// namespace tests one namespace.
func (t *Tester) namespace(ctx context.Context, namespace string) Result {
	c := &canary{tester: t, namespace: namespace}
	r := Result{Namespace: namespace, State: Passed}
	for _, id := range Steps() {
		s := Step{ID: id, State: Skipped}
		if r.State == Passed || id == StepCleanUp {
			s = t.step(ctx, c, id)
		}
		if s.State == Failed {
			r.State = Failed
		}
		r.Steps = append(r.Steps, s)
		t.OnStep(namespace, s)
	}
	r.TaskRun, r.Backend, r.Assurance = c.name, c.verdict.Backend, c.verdict.Assurance
	return r
}

// step runs one step and measures it.
func (t *Tester) step(ctx context.Context, c *canary, id StepID) Step {
	run := map[StepID]func(context.Context) Step{
		StepStart: c.start, StepRun: c.await, StepVerify: c.verify, StepCondition: c.condition, StepTampered: c.tampered,
		StepCleanUp: c.cleanUp,
	}[id]
	started := t.Now()
	s := run(ctx)
	s.ID, s.Milliseconds = id, int(t.Now().Sub(started).Milliseconds())
	return s
}

// AllPassed reports whether there are results and none failed.
func AllPassed(results []Result) bool {
	return len(results) > 0 && !slices.ContainsFunc(results, func(r Result) bool { return r.State != Passed })
}

// succeeded returns the condition Succeeded for people.
func succeeded(tr *v1.TaskRun) string {
	c := tr.Status.GetCondition("Succeeded")
	if c == nil {
		return "no condition Succeeded yet"
	}
	return string(c.Status) + "/" + c.Reason + ": " + c.Message
}
