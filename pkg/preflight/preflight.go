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

	"golang.org/x/sync/errgroup"

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

// ID identifies a check: TS and three digits. It is never used again for another check.
type ID string

// Check is one check.
type Check struct {
	ID    ID
	Group Group
	Title string // a statement that is true if the check passes
	Why   string // why it matters, in a sentence
	Fix   string // what to do if it does not pass, for the docs; findings have the exact command
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
	ID           ID        `json:"id"`
	Group        Group     `json:"group"`
	Title        string    `json:"title"`
	State        State     `json:"state"`
	Reason       string    `json:"reason,omitempty"` // why it was skipped
	Why          string    `json:"why"`
	Docs         string    `json:"docs"`
	Findings     []Finding `json:"findings,omitempty"`
	Milliseconds int       `json:"milliseconds"`
}

// Finding is one thing that a check found.
type Finding struct {
	Status   verify.Status  `json:"status"`
	Object   *status.Object `json:"object,omitempty"`   // the object that is not as it should be
	Field    string         `json:"field,omitempty"`    // the path of the field in it
	Expected string         `json:"expected,omitempty"` // set with got
	Got      string         `json:"got,omitempty"`
	Message  string         `json:"message"`
	Next     string         `json:"next,omitempty"` // the next step
}

// atOnce is how many checks run at the same time. Most wait for the API server.
const atOnce = 6

// Progress is called after each check, from one goroutine at a time.
type Progress func(done, all int, r Result)

// Run runs the checks, and returns their results in the order of the checks.
func Run(ctx context.Context, f *Facts, checks []Check, progress Progress) []Result {
	results := make([]Result, len(checks))
	var group errgroup.Group
	group.SetLimit(atOnce)
	var mu sync.Mutex
	done := 0
	for i, c := range checks {
		group.Go(func() error {
			r := c.result(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			results[i] = r
			done++
			progress(done, len(checks), r)
			return nil
		})
	}
	_ = group.Wait() // each check has its own result
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
	r.Milliseconds = int(time.Since(start).Milliseconds())
	r.State = Passed
	for _, finding := range found {
		r.State = worse(r.State, stateOf(finding.Status))
		r.Findings = append(r.Findings, Finding{
			Status: finding.Status, Object: finding.Object, Field: finding.Field, Expected: finding.Expected,
			Got: finding.Got, Message: finding.Message, Next: finding.Next,
		})
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

// States lists every state, the worst first.
func States() []State { return []State{Failed, Unknown, Warning, Passed, Skipped} }

func worse(a, b State) State {
	order := States()
	return order[min(slices.Index(order, a), slices.Index(order, b))]
}
