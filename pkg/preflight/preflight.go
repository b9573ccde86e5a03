// SPDX-License-Identifier: Apache-2.0

// Package preflight checks whether a cluster is ready for signing, before anything is installed. It changes nothing,
// except that it starts a few short pods, which show whether nodes can pull the signer's image.
//
// [Checks] is the table of checks. Each has an ID that never changes its meaning, and a section in docs/preflight.md.
// [Run] runs them at the same time. Checkers that the command status uses too are in package checks; those of a
// backend come with its descriptor.
//
// Every string may hold text from the cluster: escape it before you show it to a person.
package preflight

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Group is a group of checks.
type Group string

// The groups, in the order in which they are shown.
const (
	GroupCluster    Group = "cluster"
	GroupTekton     Group = "tekton"
	GroupRights     Group = "rights"
	GroupAddOn      Group = "add-on"
	GroupBackend    Group = "backend"
	GroupDelivery   Group = "delivery"
	GroupNamespaces Group = "namespaces"
	GroupBudget     Group = "budget"
)

// Groups lists every group.
func Groups() []Group {
	return []Group{
		GroupCluster, GroupTekton, GroupRights, GroupAddOn, GroupBackend, GroupDelivery, GroupNamespaces, GroupBudget,
	}
}

// Check is one check.
type Check struct {
	ID    status.CheckID // TS and three digits; never used again
	Group Group
	Title string // a statement that is true if the check passes
	Why   string // why it matters, in a sentence
	// Skip returns why the check does not apply, empty if it does. nil: it always applies.
	Skip func(f *Facts) string
	// Run returns what was found. What the user may not read is a finding with status unknown, never an error.
	Run func(ctx context.Context, f *Facts) []status.Check
}

// docs is where the checks are described.
const docs = "https://github.com/tekton-sign/kubectl-tekton-sign/blob/main/docs/preflight.md"

// Docs returns the address of the section about the check.
func (c Check) Docs() string { return docs + "#" + strings.ToLower(string(c.ID)) }

// State is the outcome of one check.
type State string

// The states, the worst first.
const (
	Failed  State = "failed"  // signing would not work, or a TaskRun would suffer
	Unknown State = "unknown" // it could not be found out
	Warning State = "warning" // it works, and has a drawback that you should know
	Passed  State = "passed"
	Skipped State = "skipped" // it does not apply
)

// Result is the result of one check.
type Result struct {
	ID           status.CheckID `json:"id"`
	Group        Group          `json:"group"`
	Title        string         `json:"title"`
	State        State          `json:"state"`
	Reason       string         `json:"reason,omitempty"` // why it was skipped
	Why          string         `json:"why"`
	Docs         string         `json:"docs"`
	Findings     []status.Check `json:"findings,omitempty"`
	Milliseconds int64          `json:"milliseconds"`
}

// atOnce is how many checks run at the same time. Most wait for the API server.
const atOnce = 6

// Progress is called after each check, from one goroutine at a time.
type Progress func(done, all int, r Result)

// Run runs the checks, and returns their results in the order of the checks.
func Run(ctx context.Context, f *Facts, checks []Check, progress Progress) []Result {
	results := make([]Result, len(checks))
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	slots := make(chan struct{}, atOnce)
	for i, c := range checks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := c.result(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			results[i] = r
			done++
			progress(done, len(checks), r)
		})
	}
	wg.Wait()
	return results
}

func (c Check) result(ctx context.Context, f *Facts) Result {
	r := Result{ID: c.ID, Group: c.Group, Title: c.Title, Why: c.Why, Docs: c.Docs()}
	if c.Skip != nil {
		if r.Reason = c.Skip(f); r.Reason != "" {
			r.State = Skipped
			return r
		}
	}
	start := time.Now()
	found := c.Run(ctx, f)
	r.Milliseconds = time.Since(start).Milliseconds()
	r.State = Passed
	for _, finding := range found {
		finding.ID = c.ID
		r.State = worse(r.State, stateOf(finding.Status))
		r.Findings = append(r.Findings, finding)
	}
	return r
}

// stateOf returns the state that a finding gives its check.
func stateOf(s verify.Status) State {
	switch s {
	case verify.Pass, verify.Note:
		return Passed
	case verify.Warn:
		return Warning
	case verify.Unknown:
		return Unknown
	case verify.Fail, verify.Missing:
	}
	return Failed
}

func worse(a, b State) State {
	order := []State{Failed, Unknown, Warning, Passed}
	return order[min(slices.Index(order, a), slices.Index(order, b))]
}
