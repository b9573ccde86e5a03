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

// What is shown in one piece is held in one piece, which takes many times the size of the input: so much of it is read.
const (
	maxAtOnce   = 16 << 20
	leastObject = 1 << 10 // what each is counted as
)

// taskRuns reads everything that was asked for at once. What cannot be read is an error beside the rest.
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
			return taskRuns, append(errs, fmt.Errorf("%sthe rest was not read: more than %d MiB at once: cut the input into pieces",
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
