// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// checkBackend checks what the backend needs in the cluster.
func checkBackend(ctx context.Context, c *Cluster) []status.Check {
	if !c.Known() {
		return nil // another check reports it
	}
	check := backends.Of(c.Settings.Backend).Check
	if check == nil {
		return nil
	}
	var checks []status.Check
	if c.Settings.Missing != "" {
		checks = append(checks, note(status.PartCluster, status.CheckBackend, "%s", c.Settings.Missing))
	}
	for _, f := range check(ctx, cluster.Target{
		Kube: c.Clients.Kube, Objects: c.Clients.Dynamic, Settings: c.Settings.Settings, Now: c.Options.Now(),
		History: c.history, TektonNamespace: c.Tekton.Namespace,
	}) {
		checks = append(checks, FromFinding(status.PartCluster, status.CheckBackend, f))
	}
	return checks
}

// FromFinding returns the check about something that a backend found.
func FromFinding(part status.Part, id status.CheckID, f cluster.Finding) status.Check {
	return status.Check{
		Part: part, ID: id, Status: statusOf(f.Level), Message: f.Message, Expected: f.Expected, Got: f.Got, Next: f.Next,
	}
}

func statusOf(l cluster.Level) verify.Status {
	switch l {
	case cluster.Fine:
		return verify.Pass
	case cluster.Warning:
		return verify.Warn
	case cluster.Unread:
		return verify.Unknown
	case cluster.Broken:
	}
	return verify.Fail
}
