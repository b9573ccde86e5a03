// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Check is one thing that a backend needs in a cluster. Preflight shows it under its ID.
type Check struct {
	ID    string // TS and three digits; never used again
	Title string // a statement that is true if the check passes
	Why   string // why it matters, in a sentence
	Fix   string // what to do if it does not pass
	Run   func(ctx context.Context, t Target) []Finding
}

// Target is the cluster in which a check runs.
type Target struct {
	Kube      kubeclient.Interface
	Objects   dynamic.Interface
	Settings  settings.Settings // wanted
	Namespace string            // one whose TaskRuns will sign; empty: none is in scope
	Now       time.Time
	// TektonNamespace is that of Tekton's controller.
	TektonNamespace string
	// History returns the trust history; nil before there is an installation.
	History func(context.Context) (trust.History, error)
}
