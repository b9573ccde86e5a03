// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
)

// Checks returns the table of checks, in the order of their IDs, with those of all backends.
func Checks() []Check {
	all := slices.Concat(clusterChecks(), tektonChecks(), rightsChecks(), addOnChecks(), backendChecks(),
		deliveryChecks(), namespaceChecks(), budgetChecks())
	slices.SortFunc(all, func(a, b Check) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

// backendChecks returns the checks in the descriptors of the backends. Each applies to its own backend.
func backendChecks() []Check {
	var all []Check
	for _, d := range backends.All() {
		for _, c := range d.Preflight {
			all = append(all, Check{
				ID: ID(c.ID), Group: GroupBackend, Title: c.Title, Why: c.Why, Fix: c.Fix,
				Skip: func(f *Facts) string { return otherBackend(f, d.Name) },
				Run: func(ctx context.Context, f *Facts) []status.Check {
					return findings(c.Run(ctx, f.target()))
				},
			})
		}
	}
	return all
}

func otherBackend(f *Facts, name signing.Backend) string {
	return unless(f.Settings.Backend == name, "it is for backend "+string(name))
}

// findings converts the findings of a backend.
func findings(all []cluster.Finding) []status.Check {
	var found []status.Check
	for _, f := range all {
		found = append(found, checks.FromFinding("", "", f))
	}
	return found
}

// Select returns the checks that only names, without those that skip names. A name is an ID or a group. Without only,
// all checks are selected. A name that is neither is an error.
func Select(all []Check, only, skip []string) ([]Check, error) {
	for _, name := range slices.Concat(only, skip) {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.is(name) }) {
			return nil, fmt.Errorf("expected the ID of a check or one of the groups %s, got %q; --list shows them",
				groupNames(), name)
		}
	}
	selected := slices.DeleteFunc(slices.Clone(all), func(c Check) bool {
		return len(only) > 0 && !slices.ContainsFunc(only, c.is) || slices.ContainsFunc(skip, c.is)
	})
	if len(selected) == 0 {
		return nil, fmt.Errorf("no check is left: --skip names all that --only does")
	}
	return selected, nil
}

func (c Check) is(name string) bool {
	return strings.EqualFold(name, string(c.ID)) || strings.EqualFold(name, string(c.Group))
}

func groupNames() string {
	var names []string
	for _, g := range Groups() {
		names = append(names, string(g))
	}
	return strings.Join(names, ", ")
}
