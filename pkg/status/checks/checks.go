// SPDX-License-Identifier: Apache-2.0

// Package checks reads a cluster and checks every part of an installation against the settings. Nothing is written.
//
// A [Checker] checks one part. Most of what checkers need is read once, into a [Cluster]. [Status] is the list of
// checkers behind the command status; another command can run another list with [Run].
package checks

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Options configure how a cluster is read and what the next steps are called.
type Options struct {
	Program         string // how the user calls the plugin, for next steps
	Version         string // of the plugin
	TektonNamespace string // empty: found
	Verdicts        int    // how many of the newest verdicts to list; 0: TaskRuns are not read
	Now             func() time.Time
}

// Checker checks one part of an installation. What the user may not read is a check with status unknown, never an
// error.
type Checker func(ctx context.Context, c *Cluster) []status.Check

// whileOn are the checkers of a cluster in which signing is on.
func whileOn() []Checker {
	return []Checker{
		checkSettings, CheckNamespaces, checkPolicies, CheckPodStatus,
		checkAddOn, checkLeaders, checkCertificate, checkTrustHistory, checkPods, CheckDelivery,
		checkObjects, checkGrants, checkBackend,
		CheckTekton, CheckFeatureFlags, CheckOtherControllers,
		checkVerdicts,
	}
}

// whileOff are the checkers of a cluster in which signing is off.
func whileOff() []Checker {
	return []Checker{checkSettings, checkLeftOver, checkKeptHistory, CheckTekton}
}

// Status reads the cluster and compares the installation with the settings. What the user may not read is a check of
// its own, and the rest is checked all the same. An error means that the API server did not answer at all.
func Status(ctx context.Context, clients enable.Clients, o Options) (*status.Status, error) {
	c, err := Read(ctx, clients, o)
	if err != nil {
		return nil, err
	}
	checkers := whileOn()
	if c.Off() {
		checkers = whileOff()
	}
	s := &status.Status{
		Environment: status.Versions{
			Kubernetes: c.Kubernetes, Tekton: c.Tekton.Controller.Version, TektonNamespace: c.Tekton.Namespace,
		},
		Settings: c.reportSettings(), AddOn: c.AddOn.report(), Verdicts: c.Verdicts.Found, Checks: Run(ctx, c, checkers),
	}
	s.Conclude(c.Off())
	return s, nil
}

// Run runs the checkers in their order, and returns their checks in the order of the parts.
func Run(ctx context.Context, c *Cluster, checkers []Checker) []status.Check {
	checks := runAll(ctx, c, checkers...)
	order := status.Parts()
	slices.SortStableFunc(checks, func(a, b status.Check) int {
		return slices.Index(order, a.Part) - slices.Index(order, b.Part)
	})
	return checks
}

// runAll runs the checkers in their order.
func runAll(ctx context.Context, c *Cluster, checkers ...Checker) []status.Check {
	var checks []status.Check
	for _, check := range checkers {
		checks = append(checks, check(ctx, c)...)
	}
	return checks
}

func pass(part status.Part, id status.CheckID, format string, args ...any) status.Check {
	return status.Check{Part: part, ID: id, Status: verify.Pass, Message: fmt.Sprintf(format, args...)}
}

func note(part status.Part, id status.CheckID, format string, args ...any) status.Check {
	return status.Check{Part: part, ID: id, Status: verify.Note, Message: fmt.Sprintf(format, args...)}
}

// Unreadable is the check of something that could not be read. what names it.
func Unreadable(part status.Part, id status.CheckID, what string, err error) status.Check {
	check := status.Check{Part: part, ID: id, Status: verify.Unknown, Message: fmt.Sprintf("%s: %v", what, err)}
	switch {
	case apierrors.IsForbidden(err):
		check.Message = "you may not read " + what
		check.Next = "ask a cluster administrator for that permission"
	case apierrors.IsUnauthorized(err):
		check.Message = "the cluster does not know you: " + err.Error()
		check.Next = "log in again, or check the user of your kubeconfig's context"
	}
	return check
}

// one returns a list of one check.
func one(check status.Check) []status.Check { return []status.Check{check} }

// own names an object in the namespace of the add-on.
func own(group, kind, name string) *status.Object {
	return &status.Object{Group: group, Kind: kind, Namespace: manifests.Namespace, Name: name}
}

func timeOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }
