// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// Preflight returns the checks of what the backend needs before it is enabled.
func Preflight() []cluster.Check {
	return []cluster.Check{{
		ID: "TS421", Title: "the SPIFFE CSI driver runs on every node",
		Why: "pods with the signer mount the socket of SPIRE's agent, and do not start without the driver",
		Fix: "Install the SPIFFE CSI driver as a DaemonSet on every node on which TaskRuns run.",
		Run: func(ctx context.Context, t cluster.Target) []cluster.Finding {
			return checkDriver(ctx, t.Kube, t.Objects)
		},
	}}
}
