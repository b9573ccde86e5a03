// SPDX-License-Identifier: Apache-2.0

// Package bench measures how long verification takes for one TaskRun and for very many. The figures are in
// docs/performance.md.
package bench

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// typicalSize is about the size of a typical TaskRun as JSON, in bytes.
const typicalSize = 12 << 10

// typicalRun returns a TaskRun of two steps with ten results.
func typicalRun(name, uid string) *verifytest.Run {
	r := verifytest.NewRun()
	r.Name, r.UID = name, uid
	r.Spec.Results = nil
	for i := range r.Steps {
		r.Steps[i].Entries = nil
		for k := range 5 {
			result := fmt.Sprintf("RESULT_%d_%d", i, k)
			r.Spec.Results = append(r.Spec.Results, v1.TaskResult{
				Name: result, Type: v1.ResultsTypeString, Description: "What the step found out about its input.",
			})
			r.Steps[i].Entries = append(r.Steps[i].Entries,
				verifytest.TaskResult(result, "sha256:"+strings.Repeat("2c26b46b", 8)))
		}
	}
	script := "#!/bin/sh\n" + strings.Repeat("echo building the image and its provenance\n", 20)
	for i := range r.Spec.Steps {
		r.Spec.Steps[i].Script = script
	}
	return r
}

// typicalJSON returns a typical TaskRun as the API server serves it before the add-on has recorded it.
func typicalJSON(tb testing.TB, cluster *verifytest.Cluster, run *verifytest.Run) []byte {
	tb.Helper()
	tr := signed(tb, cluster, run)
	verifytest.DropCarriers(tr)
	return encode(tb, tr)
}

func signed(tb testing.TB, cluster *verifytest.Cluster, run *verifytest.Run) *v1.TaskRun {
	tb.Helper()
	tr, err := run.TaskRun(cluster)
	if err != nil {
		tb.Fatal(err)
	}
	return tr
}

func newCluster(tb testing.TB) (*verifytest.Cluster, *verify.Verifier) {
	tb.Helper()
	cluster, err := verifytest.NewCluster()
	if err != nil {
		tb.Fatal(err)
	}
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

// BenchmarkTaskRun verifies a TaskRun of two steps, ten results and 12 KB of JSON, from its text to its
// verdict, and compares that with the cryptographic operations alone, measured in turns in the same run.
func BenchmarkTaskRun(b *testing.B) {
	cluster, verifier := newCluster(b)
	data := typicalJSON(b, cluster, typicalRun("build", verifytest.NewRun().UID))
	if len(data) < typicalSize*3/4 || len(data) > typicalSize*5/4 {
		b.Fatalf("the TaskRun is %d bytes, want about %d", len(data), typicalSize)
	}
	tr, err := source.Decode(data)
	if err != nil {
		b.Fatal(err)
	}
	bare := bareOperations(b, cluster, tr)
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command verify does
	var whole, parsed, crypto []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		tr, err := source.Decode(data)
		if err != nil {
			b.Fatal(err)
		}
		decoded := time.Since(start)
		if got := verifier.TaskRun(b.Context(), tr, verify.Facts{}); got.Verdict != verify.Verified {
			b.Fatalf("%+v", got)
		}
		whole, parsed = append(whole, time.Since(start)), append(parsed, decoded)
		start = time.Now()
		bare()
		crypto = append(crypto, time.Since(start))
	}
	b.ReportMetric(float64(median(parsed).Microseconds()), "µs-parsing/op")
	b.ReportMetric(float64(median(whole).Microseconds()), "µs-whole/op")
	b.ReportMetric(float64(median(crypto).Microseconds()), "µs-bare-crypto/op")
	b.ReportMetric(float64(median(whole))/float64(median(crypto)), "times-bare-crypto")
	b.ReportMetric(float64(median(whole)-median(parsed))/float64(median(crypto)), "times-bare-crypto-in-memory")
	b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = source.Decode(data) }), "allocs-parsing")
	b.ReportMetric(testing.AllocsPerRun(100, func() { verifier.TaskRun(b.Context(), tr, verify.Facts{}) }),
		"allocs-in-memory")
}

// bareOperations returns a function that does what every verifier must do: verify the signature of every
// step's token, which covers the digest of the step's statement, and hash that statement, its payload and
// every value.
func bareOperations(b *testing.B, cluster *verifytest.Cluster, tr *v1.TaskRun) func() {
	b.Helper()
	public, ok := cluster.Private.Public().(*rsa.PublicKey)
	if !ok {
		b.Fatalf("the cluster's key is a %T", cluster.Private)
	}
	type signed struct {
		token, signature []byte
		hashed           [][]byte
	}
	var units []signed
	steps, _ := verify.Inspect(tr)
	for _, step := range steps {
		header, err := signing.ParseManifest(step.Carriers[signing.CarrierManifest])
		if err != nil {
			b.Fatal(err)
		}
		unit, err := step.Rebuild(header)
		if err != nil {
			b.Fatal(err)
		}
		token := step.Carriers[signing.CarrierToken]
		end := strings.LastIndexByte(token, '.')
		signature, err := base64.RawURLEncoding.DecodeString(token[end+1:])
		if err != nil {
			b.Fatal(err)
		}
		u := signed{token: []byte(token[:end]), signature: signature, hashed: [][]byte{unit.Payload(), unit.Message()}}
		for _, e := range unit.Entries {
			u.hashed = append(u.hashed, []byte(e.Value))
		}
		units = append(units, u)
	}
	return func() {
		for _, u := range units {
			for _, data := range u.hashed {
				sha256.Sum256(data)
			}
			sum := sha256.Sum256(u.token)
			if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], u.signature); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
