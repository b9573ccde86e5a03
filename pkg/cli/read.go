// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
)

// cluster is that of the kubeconfig.
func (e *env) cluster() runs.Cluster {
	return runs.Cluster{Config: e.config, Connect: e.restConfig, Explain: explainCluster}
}

// Some commands keep everything in memory, which takes many times the size of the input.
const (
	maxAtOnce   = 16 << 20 // how much they read
	leastObject = 1 << 10  // how much an object counts in addition to its size
)

// taskRuns reads all selected TaskRuns. It returns an error for each that it cannot read, beside the others.
func (e *env) taskRuns(ctx context.Context, selected runs.Selection) ([]*v1.TaskRun, []error) {
	subjects := selected.FromFiles(e.In)
	if len(selected.Args) > 0 {
		subjects = selected.FromCluster(ctx, e.cluster())
	}
	var taskRuns []*v1.TaskRun
	var errs []error
	total := 0
	for s := range subjects {
		if s.Read == nil {
			continue
		}
		if total += s.Size + leastObject; total > maxAtOnce {
			return taskRuns, append(errs, fmt.Errorf("%sthe rest was not read: expected at most %d MiB: split the input",
				s.Prefix(), maxAtOnce>>20))
		}
		tr, err := s.Read()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", s.Prefix(), err))
			continue
		}
		taskRuns = append(taskRuns, tr)
	}
	return taskRuns, errs
}

func problemsOf(errs []error) []report.Problem {
	var problems []report.Problem
	for _, err := range errs {
		problems = append(problems, report.Problem{Message: err.Error()})
	}
	return problems
}
