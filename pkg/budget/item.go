// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Environment is the cluster for which pods are simulated.
type Environment struct {
	Way             Way // as steps sign now, or would with the wanted settings
	Settings        settings.Settings
	Registry        string           // of the add-on's images, for commands
	Tokens          inject.TokenForm // the shortest that the cluster signs: by them the webhook leaves pods alone
	LongestTokens   inject.TokenForm // with which messages are filled; the zero value means that of Tokens
	Node            string           // the longest name of a node; empty if not known
	TektonNamespace string
	ResultBytes     int    // assumed for each declared result
	Program         string // how the plugin is started
}

// node returns the name of the node that is in tokens.
func (e *Environment) node(s *Subject) string {
	if s.Node != "" {
		return s.Node
	}
	return e.Node
}

// tokens returns the form of the tokens with which messages are filled.
func (e *Environment) tokens() inject.TokenForm { return cmp.Or(e.LongestTokens, e.Tokens) }

// Item is the outcome for one Task. Numbers are bytes, unless they count something.
type Item struct {
	Kind         string               `json:"kind"`
	Namespace    string               `json:"namespace,omitempty"`
	Name         string               `json:"name"`
	PipelineTask string               `json:"pipelineTask,omitempty"`
	Place        string               `json:"place,omitempty"`
	Enforcement  settings.Enforcement `json:"enforcement"`
	State        State                `json:"state"`
	CanSign      bool                 `json:"canSign"` // at least with shorter results
	Effect       Effect               `json:"effect"`
	Reason       string               `json:"reason,omitempty"`
	Note         string               `json:"note,omitempty"`
	Source       string               `json:"source,omitempty"` // of the results: seen or declared
	Results      int                  `json:"results"`          // their number
	ResultBytes  int                  `json:"resultBytes"`      // of their values
	Fit          *Fit                 `json:"fit,omitempty"`    // as steps sign now
	Ways         []WayFit             `json:"ways,omitempty"`   // every way in which they could sign
	Changes      []Change             `json:"changes,omitempty"`
}

// WayFit is whether messages fit if steps sign in another way.
type WayFit struct {
	Way        `json:",inline"`
	State      State  `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Containers int    `json:"containers"`
	Share      int    `json:"share"`
	Left       int    `json:"left"` // in the fullest message
	Over       int    `json:"over"`
}

// Sources of results.
const (
	Seen     = "seen"
	Declared = "declared"
)

// Judge simulates a subject as steps sign now. With all, it simulates every other way, too.
func (e *Environment) Judge(s *Subject, all bool) Item {
	s.bytes = e.ResultBytes
	item := Item{
		Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, PipelineTask: s.PipelineTask, Place: s.Place, Note: s.Note,
		Enforcement: s.Mode,
	}
	s.limit()
	if s.Unresolved != "" {
		item.State, item.Reason, item.Effect = Unknown, s.Unresolved, Uncertain
		return item
	}
	item.Source = Declared
	if s.ran != nil {
		item.Source = Seen
	}
	messages := e.Way
	messages.ResultsFrom = Messages
	item.Results, item.ResultBytes = s.seen(messages)
	fit := e.simulate(s, e.Way)
	item.Fit, item.State, item.Reason = &fit, fit.State, fit.Reason
	item.CanSign = !fit.leftAlone && fit.State.Known()
	item.Effect = e.effect(s.Mode, fit.State)
	if all || !fit.State.Ok() {
		item.Ways = e.ways(s)
	}
	if !fit.State.Ok() && fit.State.Known() {
		item.Changes = e.changes(s, fit, item.Ways)
	}
	if !all {
		item.Ways = nil
	}
	return item
}

// Caps of what is simulated. An object of the cluster can have far more, and takes minutes then.
const (
	maxContainers = 512
	maxResults    = 1024
)

// limit leaves a subject out that has nothing to simulate, or too much.
func (s *Subject) limit() {
	results := len(s.Spec.Results)
	for i := range s.Spec.Steps {
		results += len(s.Spec.Steps[i].Results)
	}
	switch n := len(s.Spec.Steps) + len(s.Spec.Sidecars); {
	case s.Unresolved != "":
	case len(s.Spec.Steps) == 0:
		s.Unresolved = "it has no steps"
	case n > maxContainers:
		s.Unresolved = fmt.Sprintf("expected at most %d steps and sidecars, got %d: no message has room", maxContainers, n)
	case results > maxResults:
		s.Unresolved = fmt.Sprintf("expected at most %d results, got %d", maxResults, results)
	}
}

func (e *Environment) ways(s *Subject) []WayFit {
	var found []WayFit
	for _, w := range ways(e.Way) {
		fit := e.simulate(s, w)
		fullest := fit.fullest()
		found = append(found, WayFit{
			Way: w, State: fit.State, Reason: fit.Reason, Containers: fit.Containers, Share: fit.Share,
			Left: fullest.Left, Over: fullest.Over,
		})
	}
	return found
}

// fullest returns the step whose message is the fullest. The zero value means that there is none.
func (f Fit) fullest() Step {
	if len(f.Steps) == 0 {
		return Step{}
	}
	return slices.MinFunc(f.Steps, func(a, b Step) int { return (a.Left - a.Over) - (b.Left - b.Over) })
}

// Fullest returns the step whose message is the fullest, and whether there is one.
func (i *Item) Fullest() (Step, bool) {
	if i.Fit == nil || len(i.Fit.Steps) == 0 {
		return Step{}, false
	}
	return i.Fit.fullest(), true
}

// leavesEvidence reports whether the steps of a backend leave evidence in messages.
func (e *Environment) leavesEvidence() bool { return backends.Of(e.Way.Backend).Signs }
