// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"cmp"
	"context"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// CheckTekton checks that Tekton was found.
func CheckTekton(_ context.Context, c *Cluster) []status.Check {
	switch t := c.Tekton; {
	case t.Err == nil:
		return one(pass(status.PartTekton, status.CheckTekton, "version %s", cmp.Or(t.Controller.Version, "unknown")))
	case enable.IsForbidden(t.Err):
		where := "all namespaces"
		if t.Searched != "" {
			where = "namespace " + t.Searched
		}
		return one(Unreadable(status.PartTekton, status.CheckTekton, "the Deployments and StatefulSets of "+where, t.Err))
	default:
		return one(status.Check{
			Part: status.PartTekton, ID: status.CheckTekton, Status: verify.Fail, Message: t.Err.Error(),
		})
	}
}

// Tekton's own switches, in its ConfigMap feature-flags.
const (
	flagSigner   = "enforce-nonfalsifiability"
	flagBackoff  = "enable-wait-exponential-backoff"
	flagResults  = "results-from"
	resultsByLog = "sidecar-logs"
)

// CheckFeatureFlags checks those of Tekton's switches on which signing and enforcement depend.
func CheckFeatureFlags(ctx context.Context, c *Cluster) []status.Check {
	object := &status.Object{Kind: "ConfigMap", Namespace: c.Tekton.Namespace, Name: tekton.FeatureFlags}
	flags, err := enable.ReadFlags(ctx, c.Clients.Kube, object.Namespace)
	switch {
	case err != nil:
		return one(Unreadable(status.PartTekton, status.CheckTektonSigner, object.String(), err))
	case flags == nil && !c.Settings.TektonSigns():
		return nil // the defaults: Tekton does not sign, and does not wait
	}
	checks := one(checkTektonSigner(c, object, flags))
	if flags == nil {
		return checks
	}
	if c.Known() && c.Enforces() {
		checks = append(checks, checkBackoff(object, flags[flagBackoff]))
	}
	if c.Known() && c.Settings.Backend == signing.BackendReceipt && flags[flagResults] == resultsByLog {
		checks = append(checks, checkSidecarLogs(c, object))
	}
	return checks
}

// checkSidecarLogs checks whether the add-on can see the results that travel by log: a receipt covers no others.
func checkSidecarLogs(c *Cluster, object *status.Object) status.Check {
	if c.Settings.SidecarLogs {
		return pass(status.PartTekton, status.CheckSidecarLogs, "the add-on reads the logs by which results travel")
	}
	return status.Check{
		Part: status.PartTekton, ID: status.CheckSidecarLogs, Status: verify.Warn, Object: object,
		Field: "data." + flagResults, Expected: "termination-message, or the setting read-sidecar-logs",
		Got:     resultsByLog,
		Message: "results travel by log, and the add-on may not read logs: TaskRuns with results are INDETERMINATE",
		Next:    c.enableCommand() + " --read-sidecar-logs",
	}
}

// checkTektonSigner checks that Tekton's own signer and the settings agree on who signs.
func checkTektonSigner(c *Cluster, object *status.Object, flags map[string]string) status.Check {
	f := backends.CheckTektonsSigner(c.Settings.Settings, c.Tekton.Namespace, flags)
	check := FromFinding(status.PartTekton, status.CheckTektonSigner, f)
	if f.Level != cluster.Fine {
		check.Object, check.Field = object, "data."+flagSigner
	}
	return check
}

// checkBackoff checks whether Tekton tries again when it cannot create a pod because no webhook answers. If it does
// not, and results are enforced, the TaskRun fails at once.
func checkBackoff(object *status.Object, value string) status.Check {
	if value == "true" {
		const message = "%s is true: TaskRuns outlast a short outage of the webhooks"
		return pass(status.PartTekton, status.CheckBackoff, message, flagBackoff)
	}
	return status.Check{
		Part: status.PartTekton, ID: status.CheckBackoff, Status: verify.Warn, Object: object, Field: "data." + flagBackoff,
		Expected: "true", Got: cmp.Or(value, none),
		Message: "results are enforced: a TaskRun that starts while no webhook answers fails at once (PodCreationFailed)",
		Next:    tekton.SetFlag(object.Namespace, flagBackoff, "true"),
	}
}

// CheckOtherControllers checks for other installations of Tekton. The policies and webhooks do not admit their
// TaskRuns.
func CheckOtherControllers(ctx context.Context, c *Cluster) []status.Check {
	if c.Tekton.Err != nil || !c.Known() {
		return nil // other checks report it
	}
	others, err := enable.OtherControllers(ctx, c.Clients.Kube, c.Tekton.Controller)
	switch {
	case err != nil && !enable.IsForbidden(err):
		const what = "the Deployments and StatefulSets of all namespaces"
		return one(Unreadable(status.PartTekton, status.CheckTekton, what, err))
	case len(others) == 0:
		return nil
	}
	conflicting, err := enable.InScope(ctx, c.Clients.Kube, c.Settings.Settings, c.Tekton.Namespace, others)
	switch {
	case err != nil:
		const what = "the namespaces of other controllers of Tekton"
		return one(Unreadable(status.PartTekton, status.CheckTekton, what, err))
	case len(conflicting) > 0:
		return one(status.Check{
			Part: status.PartTekton, ID: status.CheckTekton, Status: verify.Fail,
			Message: enable.Conflict(c.Tekton.Namespace, conflicting),
			Next:    enable.ConflictAdvice + ": " + c.enableCommand(),
		})
	}
	return one(note(status.PartTekton, status.CheckTekton,
		"other controllers of Tekton run, for no namespace in scope: %s", enable.ControllerNames(others)))
}
