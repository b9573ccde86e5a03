// SPDX-License-Identifier: Apache-2.0

package signing_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spiretest"
)

func taskResult(name, value string) result.RunResult {
	return result.RunResult{Key: name, Value: value, ResultType: result.TaskRunResultType}
}

// emitted returns what steps may leave in their termination messages, with every kind of value.
func emitted() map[string][]result.RunResult {
	return map[string][]result.RunResult{
		"nothing": nil,
		"strings": {taskResult("a", "1"), taskResult("empty", ""), taskResult("ü", "ä\n<&>")},
		"array and object": {
			taskResult("array", `["b", "a"]`), taskResult("object", `{"z":"1", "a":"<2>"}`), taskResult("quoted", `"text"`),
		},
		"what only looks like JSON": {
			taskResult("numbers", `[1,2]`), taskResult("broken", `["a"`), taskResult("null", `null`),
			taskResult("deep", `{"a":{}}`),
			taskResult("nulls", `["a",null]`), taskResult("no elements", `[]`), taskResult("space", ` ["a"]`),
		},
		"other kinds": {
			{Key: "StartedAt", Value: "2026-11-22T10:00:00.000Z", ResultType: result.InternalTektonResultType},
			taskResult("a", "1"),
			{Key: "b", Value: "2", ResultType: result.StepResultType},
			{Key: "/artifacts", Value: "{}", ResultType: result.StepArtifactsResultType},
		},
	}
}

// TestTektonVerifiesWhatWeSign passes signatures of format v1 to Tekton's own verifier.
func TestTektonVerifiesWhatWeSign(t *testing.T) {
	domain := spiretest.New(t)
	for name, results := range emitted() {
		t.Run(name, func(t *testing.T) {
			key, svid := spiretest.Key(domain.CA.CreateX509SVID(spiretest.ID("ci", "build")))
			carriers, err := signing.SignLegacy(rand.Reader, key, results)
			if err != nil {
				t.Fatal(err)
			}
			signed := slices.Concat(results, []result.RunResult{svid}, carriers)
			if err := domain.Verify(t, "ci", "build", signed); err != nil {
				t.Errorf("Tekton refuses what we signed: %v", err)
			}
			if err := domain.Verify(t, "ci", "other", signed); err == nil {
				t.Error("Tekton accepts the results as those of another TaskRun")
			}
			for i, r := range signed {
				if signing.IsLegacyCarrier(r.Key) || r.ResultType != result.TaskRunResultType {
					continue
				}
				changed := slices.Clone(signed)
				changed[i].Value += "x"
				if err := domain.Verify(t, "ci", "build", changed); err == nil {
					t.Errorf("Tekton accepts another value of %s", r.Key)
				}
			}
		})
	}
}

// TestSignLegacyIsWhatTektonSigns compares what we add to results with what Tekton adds. ECDSA signatures
// differ each time.
func TestSignLegacyIsWhatTektonSigns(t *testing.T) {
	domain := spiretest.New(t)
	key, carrier := spiretest.Key(domain.Serve(spiretest.ID("ci", "build")))
	for name, results := range emitted() {
		t.Run(name, func(t *testing.T) {
			want := domain.Sign(t, results)
			got, err := signing.SignLegacy(rand.Reader, key, results)
			if err != nil {
				t.Fatal(err)
			}
			got = append([]result.RunResult{carrier}, got...)
			signature := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Value" }, cmpopts.IgnoreTypes(""))
			if diff := cmp.Diff(want, got, signature); diff != "" {
				t.Errorf("entries differ (-Tekton +ours):\n%s", diff)
			}
			for i := range want {
				if name := want[i].Key; name == signing.CarrierManifest || name == signing.CarrierSVID {
					if want[i].Value != got[i].Value {
						t.Errorf("%s: Tekton has %q, we have %q", name, want[i].Value, got[i].Value)
					}
				}
			}
		})
	}
}

// A signature of format v1 must never also be a signature of format v2 by the same key.
func TestSignLegacyRefusesMessages(t *testing.T) {
	domain := spiretest.New(t)
	key, _ := spiretest.Key(domain.CA.CreateX509SVID(spiretest.ID("ci", "build")))
	message := string(signing.Unit{Namespace: "ci", TaskRun: "build"}.Message())
	_, err := signing.SignLegacy(rand.Reader, key, []result.RunResult{taskResult("a", message)})
	var unsigned *signing.UnsignedError
	if !errors.As(err, &unsigned) || unsigned.Reason != signing.UnsignedReserved {
		t.Errorf("got %v, want the reason %s", err, signing.UnsignedReserved)
	}
}

func TestIsLegacyCarrier(t *testing.T) {
	for name, want := range map[string]bool{
		"a": false, "a.sig": true, ".sig": true, "sig": false, "a.sigs": false, "SVID": true, "SIGNING_TOKEN": true,
		"RESULT_MANIFEST": true, "RESULT_MANIFEST.sig": true, "svid": false,
	} {
		if got := signing.IsLegacyCarrier(name); got != want {
			t.Errorf("IsLegacyCarrier(%q) = %v, want %v", name, got, want)
		}
	}
}
