// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

// Pauses between two reports, and after one of what is not in order.
const reportPause, reportRetry = time.Minute, 10 * time.Second

// reportTimeout bounds one report.
const reportTimeout = 30 * time.Second

// newReportController makes the reconciler that reports what the add-on sees of the backend, for the command status.
func (a *addOn) newReportController(ctx context.Context) *controller.Impl {
	report := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		return a.registrar.Report(ctx, a.client.CoreV1())
	}
	return newQueue(ctx, reconciler.NewRegularly(ctx, report, reportPause, reportRetry), "report")
}
