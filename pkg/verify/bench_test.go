// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// benchmarkJSON is how large the TaskRun of the benchmarks is as JSON.
const benchmarkJSON = 12 << 10

// benchmarkTaskRun returns a TaskRun with two steps and ten results, and its JSON of 12 KiB.
func benchmarkTaskRun(b *testing.B) (*v1.TaskRun, []byte) {
	b.Helper()
	tr := newTaskRun(b, func(r *verifytest.Run) {
		for i := range 7 {
			name := fmt.Sprintf("result-%d", i)
			r.Spec.Results = append(r.Spec.Results, v1.TaskResult{Name: name, Type: v1.ResultsTypeString})
			r.Steps[i%2].Entries = append(r.Steps[i%2].Entries, verifytest.TaskResult(name, fmt.Sprintf("sha256:%064d", i)))
		}
	})
	data, err := json.Marshal(tr)
	if err != nil {
		b.Fatal(err)
	}
	script := strings.Repeat("make build TARGET=app\n", max(0, benchmarkJSON-len(data)-40)/2/23)
	tr.Spec.TaskSpec.Steps[0].Script, tr.Status.TaskSpec.Steps[0].Script = script, script
	if data, err = json.Marshal(tr); err != nil {
		b.Fatal(err)
	}
	return tr, data
}

// BenchmarkTaskRun compares verifying a TaskRun with nothing but the cryptographic operations that it needs.
func BenchmarkTaskRun(b *testing.B) {
	tr, data := benchmarkTaskRun(b)
	v := newVerifier(b)
	verifyOne := func(b *testing.B, tr *v1.TaskRun) {
		if got := v.TaskRun(b.Context(), tr, verify.Facts{}); got.Verdict != verify.Verified {
			b.Fatalf("%+v", got)
		}
	}
	b.Run("crypto", func(b *testing.B) { benchmarkCrypto(b, tr) })
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			verifyOne(b, tr)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := source.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse-and-verify", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			tr, err := source.Decode(data)
			if err != nil {
				b.Fatal(err)
			}
			verifyOne(b, tr)
		}
	})
}

// benchmarkCrypto checks the tokens' signatures and hashes what the steps emitted, and does nothing else.
func benchmarkCrypto(b *testing.B, tr *v1.TaskRun) {
	type signed struct{ data, signature, message []byte }
	var units []signed
	for _, s := range tr.Status.Steps {
		var entries []struct{ Key, Value string }
		if err := json.Unmarshal([]byte(s.Terminated.Message), &entries); err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if e.Key == signing.CarrierToken {
				dot := strings.LastIndexByte(e.Value, '.')
				signature, err := base64.RawURLEncoding.DecodeString(e.Value[dot+1:])
				if err != nil {
					b.Fatal(err)
				}
				units = append(units, signed{[]byte(e.Value[:dot]), signature, []byte(s.Terminated.Message)})
			}
		}
	}
	key, ok := theCluster().Private.Public().(*rsa.PublicKey)
	if !ok {
		b.Fatal("the cluster's key is no RSA key")
	}
	for b.Loop() {
		for _, u := range units {
			sum := sha256.Sum256(u.data)
			if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], u.signature); err != nil {
				b.Fatal(err)
			}
			sha256.Sum256(u.message)
		}
	}
}
