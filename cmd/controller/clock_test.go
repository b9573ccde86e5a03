// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestClockJumps moves the clock of a node under the add-on: its trust history, whose sightings it dates by its own
// clock, and what verifies with it. The API server's clock, and with it every token, stays right. What is false is
// FAILED whatever the clock says, and what is true VERIFIED, but while the clock is behind: then a token is from
// the future, which is told. A clock that jumped once leaves nothing behind.
func TestClockJumps(t *testing.T) {
	cluster, err := verifytest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	good, err := verifytest.NewRun().TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	bad := good.DeepCopy()
	bad.Status.Results[0].Value.StringVal = "sha256:forged"
	right := verifytest.Start().Add(2 * time.Minute)
	for name, jumps := range map[string][]time.Duration{
		"steady":                      {0},
		"an hour ahead":               {0, time.Hour},
		"a day ahead, and back":       {0, 24 * time.Hour, 0},
		"ten years ahead, and back":   {0, 10 * 365 * 24 * time.Hour, 0},
		"a day behind, and back":      {0, -24 * time.Hour, 0},
		"started a day ahead":         {24 * time.Hour},
		"started a day ahead, back":   {24 * time.Hour, 0},
		"started a day behind, ahead": {-24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now := right
			clock := func() time.Time { return now }
			log := zap.NewNop().Sugar()
			history := reconciler.NewHistory(reconciler.HistoryConfig{
				Client: fake.NewClientset(), Recorder: record.NewFakeRecorder(100), Log: log, Now: clock,
				Fetch: func(context.Context) (*trust.Cluster, error) { return cluster.Trust() },
			})
			trusted := admission.NewTrust(history.Cluster, nil, clock, log)
			rules := admission.Rules{
				Tokens: verify.DefaultTokens(), MinimumFormat: signing.FormatV2,
			}
			pod := &verify.PodFacts{Found: true, UID: "3db15e48-971f-4815-84b3-272e52f61a10", ControllerUID: good.UID}
			for _, jump := range jumps {
				now = right.Add(jump)
				if err := history.Sync(t.Context()); err != nil {
					t.Fatalf("%s: %v", jump, err)
				}
				want := map[*v1.TaskRun]string{good: "VERIFIED ", bad: "FAILED results"}
				if jump < 0 {
					want[good] = "INDETERMINATE clock-behind"
				}
				for tr, verdict := range want {
					got, err := trusted.TaskRun(t.Context(), rules, tr, verify.Facts{Live: true, RequirePod: true, Pod: pod})
					if string(got.Verdict)+" "+got.Reason != verdict || err != nil {
						t.Errorf("clock %+v: expected %s, got %s %s: %s, %v", jump, verdict, got.Verdict, got.Reason, got.Message, err)
					}
				}
			}
		})
	}
}
