// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"maps"
	"slices"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Only the signed message verifies, and no message makes the verifier panic.
func FuzzMessage(f *testing.F) {
	tr := newTaskRun(f, nil)
	v := newVerifier(f)
	signed := tr.Status.Steps[0].Terminated.Message
	for _, s := range []string{
		signed, "", "[]", "x", "tknz:", signed[:len(signed)/2],
		`[{"key":"RESULT_MANIFEST","value":"none:too-long","type":1}]`,
		`[{"key":"ExitCode","value":"1","type":1},{"key":"StartedAt","value":"x","type":4},` +
			`{"key":"a","value":"{\"inputs\":1}","type":5}]`,
		`[{"key":"artifacts","value":"{\"outputs\":[{\"name\":\"a\",\"values\":null}]}","type":6}]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		changed := tr.DeepCopy()
		changed.Status.Steps[0].Terminated.Message = message
		got := v.TaskRun(t.Context(), changed, verify.Facts{})
		if got.Verdict == verify.Verified && !sameEntries(t, message, signed) {
			t.Errorf("verified with the message %q", message)
		}
	})
}

// sameEntries reports whether two messages hold the same entries, because there is more than one way to write
// JSON.
func sameEntries(t *testing.T, a, b string) bool {
	t.Helper()
	logger := zap.NewNop().Sugar()
	x, err := termination.ParseMessage(logger, a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := termination.ParseMessage(logger, b)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Equal(x, y)
}

// Every manifest that can be read is written back unchanged.
func FuzzManifest(f *testing.F) {
	f.Add("v2:AgMAAT2xXkiXH0gVhLMnLlL2GhBjQDdPOohP8oEuwVWi2OFCawK-jgABAAU")
	f.Add("none:too-long")
	f.Add("IMAGE_DIGEST,IMAGE_URL")
	f.Fuzz(func(t *testing.T, manifest string) {
		if h, err := signing.ParseManifest(manifest); err == nil && h.Manifest() != manifest {
			t.Errorf("%q is written back as %q", manifest, h.Manifest())
		}
	})
}

// No declaration and no stored value makes the replay panic or makes another value verify.
func FuzzStatus(f *testing.F) {
	tr := newTaskRun(f, nil)
	v := newVerifier(f)
	f.Add("IMAGE_DIGEST", "string", "x", "$(steps.build.results.a)")
	f.Add("TAGS", "array", "", "$(steps.results)")
	f.Add("SVID", "", "\xff", "")
	f.Fuzz(func(t *testing.T, name, kind, value, promoted string) {
		changed := tr.DeepCopy()
		declared := v1.TaskResult{Name: name, Type: v1.ResultsType(kind), Value: v1.NewStructuredValues(promoted)}
		changed.Status.TaskSpec.Results = append(changed.Status.TaskSpec.Results, declared)
		changed.Status.Results = append(changed.Status.Results, v1.TaskRunResult{
			Name: name, Type: v1.ResultsType(kind), Value: *v1.NewStructuredValues(value),
		})
		got := v.TaskRun(t.Context(), changed, verify.Facts{})
		if got.Verdict == verify.Verified && !signing.IsReserved(name) {
			t.Errorf("verified with the additional result %q = %q", name, value)
		}
	})
}

// In format v1, only the signed evidence verifies, and no evidence makes the verifier panic.
func FuzzLegacy(f *testing.F) {
	tr := newTaskRun(f, signedAs(v1Format, byKey))
	v := newVerifier(f)
	f.Add("IMAGE_DIGEST,TAGS", "IMAGE_DIGEST", "x", "IMAGE_DIGEST.sig", "AA==")
	f.Add("", "evil.sig", "x", "TAGS", "[]")
	f.Add(",", "RESULT_MANIFEST.sig", "", "SVID", "\xff")
	f.Add("v2:", "SIGNING_PUBKEY", "AA==", "SIGNING_TOKEN", "a.b.c")
	f.Fuzz(func(t *testing.T, manifest, name, value, other, otherValue string) {
		changed := tr.DeepCopy()
		same := true
		inStep(0, func(e map[string]string) {
			before := maps.Clone(e)
			e[signing.CarrierManifest], e[name], e[other] = manifest, value, otherValue
			same = maps.EqualFunc(before, e, func(a, b string) bool { // there is more than one way to write JSON
				return signing.CanonicalValue(a) == signing.CanonicalValue(b)
			})
		})(changed)
		got := v.TaskRun(t.Context(), changed, verify.Facts{})
		if got.Verdict == verify.Verified && !same {
			t.Errorf("verified with the manifest %q, %q = %q and %q = %q", manifest, name, value, other, otherValue)
		}
	})
}
