// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"runtime"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// backend is what BenchmarkBackends measures of one backend.
type backend struct {
	signer         stepSigner
	taskRun        *v1.TaskRun
	evidence       int // bytes in the termination message of a step
	signed, proved []time.Duration
	allocated      uint64
}

// BenchmarkBackends measures spire beside oidc-sa-token, in turns in the same run: what a step adds to its termination
// message, how long its signer takes until it has signed and how much it allocates, and how long verification takes for
// a TaskRun of two steps and ten results. It also measures the most memory of a process that signs once: this test's
// own program, which links more than the signer. API server and agent answer at once, from this process.
func BenchmarkBackends(b *testing.B) {
	cluster, verifier := newSPIRECluster(b)
	all := map[string]*backend{
		"oidc-sa-token": newBackend(b, cluster, signing.SchemeOIDCPayloadBound, newAPIServer(b, cluster).signer()),
		"spire":         newBackend(b, cluster, signing.SchemeSPIRE, newAgent(b, cluster).signer()),
	}
	for b.Loop() {
		for _, of := range all {
			of.measure(b, verifier)
		}
	}
	for name, of := range all {
		b.ReportMetric(float64(of.evidence), "B-evidence-"+name)
		b.ReportMetric(float64(median(of.signed).Microseconds())/1000, "ms-signing-"+name)
		b.ReportMetric(float64(median(of.proved).Microseconds())/1000, "ms-verifying-"+name)
		b.ReportMetric(float64(of.allocated)/float64(len(of.signed))/1000, "kB-allocated-"+name)
		b.ReportMetric(float64(of.signer.memory(b))/1e6, "MB-process-"+name)
	}
}

func (of *backend) measure(b *testing.B, verifier *verify.Verifier) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	if err := of.signer.sign(); err != nil {
		b.Fatal(err)
	}
	of.signed = append(of.signed, time.Since(start))
	runtime.ReadMemStats(&after)
	of.allocated += after.TotalAlloc - before.TotalAlloc
	start = time.Now()
	if got := verifier.TaskRun(b.Context(), of.taskRun, verify.Facts{}); got.Verdict != verify.Verified {
		b.Fatalf("%+v", got)
	}
	of.proved = append(of.proved, time.Since(start))
}

// newSPIRECluster returns a virtual cluster with a SPIRE.
func newSPIRECluster(tb testing.TB) (*verifytest.Cluster, *verify.Verifier) {
	tb.Helper()
	cluster, _ := newCluster(tb)
	ca, err := verifytest.NewCA(verifytest.TrustDomain)
	if err != nil {
		tb.Fatal(err)
	}
	cluster.CA = ca
	trusted, err := cluster.Trust()
	if err != nil {
		tb.Fatal(err)
	}
	verifier, err := verify.New(trusted, verify.WithUnrecorded())
	if err != nil {
		tb.Fatal(err)
	}
	return cluster, verifier
}

func newBackend(tb testing.TB, cluster *verifytest.Cluster, scheme signing.Scheme, signer stepSigner) *backend {
	tb.Helper()
	run := typicalRun("build", verifytest.NewRun().UID)
	run.Scheme = scheme
	tr := signed(tb, cluster, run)
	bare := typicalRun("build", run.UID)
	for i := range bare.Steps {
		bare.Steps[i].Bare = true
	}
	without := signed(tb, cluster, bare)
	return &backend{
		signer: signer, taskRun: tr,
		evidence: len(tr.Status.Steps[0].Terminated.Message) - len(without.Status.Steps[0].Terminated.Message),
	}
}
