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
	}, {
		ID: "TS422", Title: "somebody registers TaskRuns with SPIRE",
		Why: "SPIRE issues SVIDs only to pods that are registered: by the add-on, or by spire-controller-manager",
		Fix: "Install spire-controller-manager with its CRDs, or let the add-on register TaskRuns (--spire-entries api).",
		Run: func(ctx context.Context, t cluster.Target) []cluster.Finding {
			return []cluster.Finding{CheckManager(ctx, t.Objects, t.Settings)}
		},
	}}
}
