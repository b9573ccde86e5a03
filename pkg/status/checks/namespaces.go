// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// CheckNamespaces checks the scope of the settings, and the labels of the namespaces in scope.
func CheckNamespaces(ctx context.Context, c *Cluster) []status.Check {
	switch {
	case !c.Listed():
		const what = "the list of namespaces"
		return one(Unreadable(status.PartSettings, status.CheckNamespaces, what, c.Namespaces.Err))
	case !c.Known():
		return nil // checkSettings reports it
	}
	return runAll(ctx, c, checkScope, checkLabels)
}

// checkScope warns of settings that apply to no namespace.
func checkScope(_ context.Context, c *Cluster) []status.Check {
	scope := c.Settings.Scope
	missing := slices.DeleteFunc(slices.Clone(scope.Names), func(name string) bool {
		return slices.ContainsFunc(c.Namespaces.List, func(ns Namespace) bool { return ns.Name == name })
	})
	check := status.Check{Part: status.PartSettings, ID: status.CheckNamespaces, Status: verify.Warn}
	switch {
	case !slices.ContainsFunc(c.Namespaces.List, func(ns Namespace) bool { return ns.InScope }):
		check.Message = "no namespace is in scope (" + scope.String() + "): nothing is signed"
	case len(missing) > 0:
		check.Message = "the settings name namespaces that do not exist: " + names.Few(missing)
	default:
		return nil
	}
	return one(check)
}

// checkLabels warns of labels whose value is not a mode.
func checkLabels(_ context.Context, c *Cluster) []status.Check {
	var wrong, affected []string
	for _, ns := range c.Namespaces.List {
		label, ok := ns.Labels[settings.LabelEnforcement]
		mode := c.Settings.EnforcementOf(ns.Labels)
		if ns.InScope && ok && mode == c.Settings.Enforcement && label != string(mode) {
			wrong, affected = append(wrong, fmt.Sprintf("%s=%s", ns.Name, label)), append(affected, ns.Name)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return one(status.Check{
		Part: status.PartSettings, ID: status.CheckEnforcementLabels, Status: verify.Warn,
		Expected: "audit or enforce", Got: names.Few(wrong),
		Message: fmt.Sprintf("label %s is no mode and counts as none", settings.LabelEnforcement),
		Next:    "kubectl label namespace " + strings.Join(affected, " ") + " " + settings.LabelEnforcement + "-",
	})
}

// modes counts the namespaces in scope by their modes.
func (c *Cluster) modes() *status.NamespaceModes {
	m := &status.NamespaceModes{}
	for _, ns := range c.Namespaces.List {
		if !ns.InScope {
			continue
		}
		m.InScope++
		mode := c.Settings.EnforcementOf(ns.Labels)
		if mode == settings.Enforce {
			m.Enforce++
		} else {
			m.Audit++
		}
		if mode != c.Settings.Enforcement {
			m.Other = append(m.Other, status.NamespaceMode{Namespace: ns.Name, Enforcement: string(mode)})
		}
	}
	return m
}

// Enforces reports whether results are enforced in any namespace, as far as the namespaces are known.
func (c *Cluster) Enforces() bool {
	if !c.Listed() {
		return c.Settings.Enforcement == settings.Enforce
	}
	return slices.ContainsFunc(c.Namespaces.List, func(ns Namespace) bool {
		return ns.InScope && c.Settings.EnforcementOf(ns.Labels) == settings.Enforce
	})
}
