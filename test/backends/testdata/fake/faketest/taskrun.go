// SPDX-License-Identifier: Apache-2.0

// Package faketest makes TaskRuns that are signed by the backend of a test.
package faketest

import (
	"context"
	"crypto/rand"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/fake"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TaskRun returns a signed and recorded TaskRun, and the cluster in which it ran.
func TaskRun() (*verifytest.Cluster, *v1.TaskRun, error) {
	cluster, err := verifytest.NewCluster()
	if err != nil {
		return nil, nil, err
	}
	if cluster.CA, err = verifytest.NewCA("fake.test"); err != nil {
		return nil, nil, err
	}
	run := verifytest.NewRun()
	run.Scheme = signing.SchemeFake
	run.Sign = func(index int, unit signing.Unit) (map[string]string, error) {
		signer := fake.Signer{
			Step: step.Config{
				Namespace: run.Namespace, TaskRun: run.Name, TaskRunUID: unit.Header.TaskRunUID, Container: unit.Container,
				Index: uint8(index), Count: uint8(len(run.Steps)),
			},
			Pod: run.PodName(), PodUID: unit.Header.PodUID, Key: cluster.CA.Key(), Now: unit.Header.SignedAt,
			Random: rand.Reader,
		}
		carriers := map[string]string{}
		results, err := signer.Sign(context.Background(), run.Steps[index].Entries)
		for _, r := range results {
			carriers[r.Key] = r.Value
		}
		return carriers, err
	}
	tr, err := run.TaskRun(cluster)
	if err != nil {
		return nil, nil, err
	}
	return cluster, tr, cluster.Record(tr, verifytest.Recording{})
}
