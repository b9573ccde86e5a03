// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"sync"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// theCluster is the virtual cluster of all tests: making an RSA key takes long.
var theCluster = sync.OnceValue(func() *verifytest.Cluster {
	c, err := verifytest.NewCluster()
	if err != nil {
		panic(err)
	}
	return c
})

func newVerifier(t testing.TB, options ...verify.Option) *verify.Verifier {
	t.Helper()
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	clock := verify.WithClock(func() time.Time { return verifytest.Start().Add(24 * time.Hour) })
	v, err := verify.New(cluster, append([]verify.Option{clock}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newTaskRun(t testing.TB, change func(*verifytest.Run)) *v1.TaskRun {
	t.Helper()
	run := verifytest.NewRun()
	if change != nil {
		change(run)
	}
	tr, err := run.TaskRun(theCluster())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestVerified(t *testing.T) {
	tr := newTaskRun(t, nil)
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	t.Logf("%+v", got)
	if got.Verdict != verify.Verified {
		t.Errorf("verdict %s", got.Verdict)
	}
}
