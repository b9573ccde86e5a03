// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Facts are what the checks share: the cluster as it would be with the wanted settings, and the plan of enable.
type Facts struct {
	*checks.Cluster
	Plan    enable.Plan
	PlanErr error // why enable could not even make a plan
	Enable  string

	readNodes sync.Once
	nodeList  []*corev1.Node
	nodeErr   error
}

// nodes returns the nodes, which are read once, when the first check needs them.
func (f *Facts) nodes(ctx context.Context) ([]*corev1.Node, error) {
	f.readNodes.Do(func() {
		f.nodeErr = enable.Each(ctx, f.Clients.Kube.CoreV1().Nodes().List, func(n *corev1.Node) {
			f.nodeList = append(f.nodeList, n)
		})
	})
	return f.nodeList, f.nodeErr
}

// Read reads the cluster and lets enable make its plan. An error means that the API server did not answer at all.
func Read(ctx context.Context, clients enable.Clients, request enable.Request, o checks.Options) (*Facts, error) {
	read, err := checks.Read(ctx, clients, o)
	if err != nil {
		return nil, err
	}
	f := &Facts{}
	f.Plan, f.PlanErr = plan(ctx, clients, request, o)
	wanted := request.Settings
	if f.PlanErr == nil {
		wanted = f.Plan.Settings // with what enable keeps
	}
	f.Cluster = read.With(wanted)
	f.Enable = o.Program + " " + enable.Command(wanted, request.Registry)
	return f, nil
}

func plan(ctx context.Context, clients enable.Clients, r enable.Request, o checks.Options) (enable.Plan, error) {
	environment, err := enable.Inspect(ctx, clients.Kube, o.TektonNamespace)
	if err != nil {
		return enable.Plan{}, err
	}
	return enable.PlanEnable(ctx, clients, environment, r)
}

// backend returns the row of the wanted backend.
func (f *Facts) backend() backends.Descriptor { return backends.Of(f.Settings.Backend) }

// inScope returns the names of the namespaces that are in scope with the wanted settings.
func (f *Facts) inScope() []string {
	var names []string
	for _, ns := range f.Namespaces.List {
		if ns.InScope {
			names = append(names, ns.Name)
		}
	}
	return names
}

// target is the cluster for the checks of the backend.
func (f *Facts) target() cluster.Target {
	t := cluster.Target{
		Kube: f.Clients.Kube, Objects: f.Clients.Dynamic, Settings: f.Settings.Settings, Now: f.Options.Now(),
		TektonNamespace: f.Tekton.Namespace,
	}
	if names := f.inScope(); len(names) > 0 {
		t.Namespace = names[0]
	}
	return t
}

// Report runs the checks and sums up their results.
func (f *Facts) Report(ctx context.Context, selected []Check, progress Progress) *Report {
	r := &Report{
		Backend: string(f.Settings.Backend), Enable: f.Enable,
		Environment: status.Versions{
			Kubernetes: f.Kubernetes, Tekton: f.Tekton.Controller.Version, TektonNamespace: f.Tekton.Namespace,
		},
		Checks: Run(ctx, f, selected, progress),
	}
	r.Conclude()
	return r
}

// Unreachable is the report about a cluster that did not answer.
func Unreachable(backend string, err error) *Report {
	all := Checks()
	c := all[slices.IndexFunc(all, func(c Check) bool { return c.ID == Answers })]
	r := &Report{Backend: backend, Checks: []Result{{
		ID: c.ID, Group: c.Group, Title: c.Title, Why: c.Why, Docs: c.Docs(), State: Unknown,
		Findings: []Finding{{Status: verify.Unknown, Message: err.Error()}},
	}}}
	r.Conclude()
	return r
}

func one(c status.Check) []status.Check { return []status.Check{c} }

func pass(format string, args ...any) []status.Check {
	return one(status.Check{Status: verify.Pass, Message: fmt.Sprintf(format, args...)})
}

// unread is the finding about something that could not be read.
func unread(what string, err error) []status.Check { return one(checks.Unreadable("", "", what, err)) }

// shared runs a checker of the command status, and returns its findings with this ID.
func shared(checker checks.Checker, id status.CheckID) func(context.Context, *Facts) []status.Check {
	return func(ctx context.Context, f *Facts) []status.Check {
		var found []status.Check
		for _, c := range checker(ctx, f.Cluster) {
			if c.ID == id {
				found = append(found, c)
			}
		}
		return found
	}
}

const probeTime = 10 * time.Second // for one question to the API server
