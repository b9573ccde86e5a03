// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto/elliptic"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// inStep changes the entries of a step's message and keeps them in order.
func inStep(step int, change func(map[string]string)) func(*v1.TaskRun) {
	return changeMessage(step, func(entries []result.RunResult) []result.RunResult {
		values := map[string]string{}
		for _, e := range entries {
			values[e.Key] = e.Value
		}
		change(values)
		entries = nil
		for key, value := range values {
			entries = append(entries, verifytest.TaskResult(key, value))
		}
		slices.SortFunc(entries, func(a, b result.RunResult) int { return strings.Compare(a.Key, b.Key) })
		return entries
	})
}

// both applies several changes.
func both(changes ...func(*v1.TaskRun)) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) {
		for _, change := range changes {
			change(tr)
		}
	}
}

// inResults changes status.results.
func inResults(change func([]v1.TaskRunResult) []v1.TaskRunResult) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) { tr.Status.Results = change(tr.Status.Results) }
}

func withoutResult(name string) func(*v1.TaskRun) {
	return inResults(func(list []v1.TaskRunResult) []v1.TaskRunResult {
		return slices.DeleteFunc(list, func(r v1.TaskRunResult) bool { return r.Name == name })
	})
}

func withResult(name, value string) func(*v1.TaskRun) {
	return inResults(func(list []v1.TaskRunResult) []v1.TaskRunResult {
		return append(list, v1.TaskRunResult{Name: name, Type: v1.ResultsTypeString, Value: *v1.NewStructuredValues(value)})
	})
}

// The rules of format v1 that upstream's verifier lacks, for both backends.
func TestLegacy(t *testing.T) {
	const digest, tags = "IMAGE_DIGEST", "TAGS"
	sig := func(name string) string { return name + signing.LegacySuffix }
	cases := map[string]verdictCase{}
	for backend, scheme := range map[string]signing.Scheme{"token": byKey, "SVID": bySPIRE} {
		sign := signedAs(v1Format, scheme)
		add := func(name string, c verdictCase) {
			c.sign = all(sign, orNothing(c.sign))
			cases[backend+": "+name] = c
		}
		failed := func(name string, tamper func(*v1.TaskRun), checks ...string) {
			add(name, verdictCase{tamper: tamper, want: verify.Failed, checks: checks})
		}
		failed("another value", inDigest(to("x")), "payload IMAGE_DIGEST", "results IMAGE_DIGEST")
		failed("result removed", both(inStep(0, func(e map[string]string) { delete(e, digest); delete(e, sig(digest)) }),
			withoutResult(digest)),
			"payload IMAGE_DIGEST")
		failed("result without its signature", inStep(0, func(e map[string]string) { delete(e, sig(digest)) }),
			"signature IMAGE_DIGEST")
		failed("signature without its result", both(inStep(0, func(e map[string]string) { delete(e, digest) }),
			withoutResult(digest)),
			"format IMAGE_DIGEST.sig", "payload IMAGE_DIGEST")
		failed("unsigned evil.sig", inStep(0, func(e map[string]string) { e["evil.sig"] = "x" }), "format evil.sig")
		failed("result that copies another's value and signature", both(inStep(0, func(e map[string]string) {
			e["copy"], e["copy.sig"] = e[digest], e[sig(digest)]
		}), withResult("copy", "x")), "payload copy", "results copy")
		failed("copy that the manifest lists", inStep(0, func(e map[string]string) {
			e["copy"], e["copy.sig"] = e[digest], e[sig(digest)]
			e[signing.CarrierManifest] += ",copy"
		}), "signature", "payload RESULT_MANIFEST", "results copy")
		failed("empty manifest", inStep(0, func(e map[string]string) { e[signing.CarrierManifest] = "" }),
			"payload IMAGE_DIGEST", "payload TAGS")
		failed("name twice in the manifest", inStep(0,
			func(e map[string]string) { e[signing.CarrierManifest] += "," + digest }),
			"format IMAGE_DIGEST")
		failed("name that no result has", inStep(0, func(e map[string]string) { e[signing.CarrierManifest] += ", x" }),
			"format", "payload  x")
		failed("carrier in the manifest", inStep(0, func(e map[string]string) { e[signing.CarrierManifest] += ",SVID" }),
			"format", "payload SVID")
		failed("manifest of another order", inStep(0,
			func(e map[string]string) { e[signing.CarrierManifest] = tags + "," + digest }),
			"payload RESULT_MANIFEST")
		failed("a result's signature as the manifest's", inStep(0, func(e map[string]string) {
			e[sig(signing.CarrierManifest)] = e[sig(digest)]
		}), "signature", "payload RESULT_MANIFEST")
		failed("an older step's evidence in place of a later one's", func(tr *v1.TaskRun) {
			tr.Status.Steps[1].Terminated.Message = tr.Status.Steps[0].Terminated.Message
			withoutResult("SOURCE")(tr)
		}, map[string][]string{"token": {"signature", "token-reuse"}, "SVID": {"signature"}}[backend]...)
		failed("no evidence of a step", both(inStep(1, func(e map[string]string) {
			source := e["SOURCE"]
			clear(e)
			e["SOURCE"] = source
		})), "coverage")
		failed("URL-safe signature", inStep(0, func(e map[string]string) {
			e[sig(digest)] = strings.NewReplacer("+", "-", "/", "_").Replace(e[sig(digest)]) + "-"
		}), "signature IMAGE_DIGEST")
		failed("line break in a signature", inStep(0, func(e map[string]string) {
			e[sig(digest)] = e[sig(digest)][:8] + "\n" + e[sig(digest)][8:]
		}), "signature IMAGE_DIGEST")
		failed("padding too long", inStep(0, func(e map[string]string) { e[sig(digest)] += "=" }), "signature IMAGE_DIGEST")
		failed("signature in status.results that no step emitted", withResult("evil.sig", "x"), "results evil.sig")
		failed("two backends", inStep(0, func(e map[string]string) {
			e[signing.CarrierSVID], e[signing.CarrierToken] = "x", "x"
		}), "format")
		failed("no manifest", inStep(0, func(e map[string]string) { delete(e, signing.CarrierManifest) }), "format")
		failed("unknown version",
			inStep(0, func(e map[string]string) { e[signing.CarrierManifest] = "v3:" + e[signing.CarrierManifest] }), "format")
		add("step without results", verdictCase{sign: func(r *verifytest.Run) {
			r.Steps[1].Entries = nil
		}, want: verify.Verified})
		add("step results", verdictCase{sign: func(r *verifytest.Run) {
			r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", "clean"))
		}, want: verify.Indeterminate, checks: []string{"step-results"}})
		add("artifacts", verdictCase{sign: func(r *verifytest.Run) {
			r.Steps[0].Entries = append(r.Steps[0].Entries, result.RunResult{
				Key: "/artifacts.json", Value: `{"inputs":[{"name":"a"}]}`, ResultType: result.StepArtifactsResultType,
			})
		}, want: verify.Indeterminate, checks: []string{"artifacts"}})
		add("step result called like a signature", verdictCase{sign: func(r *verifytest.Run) {
			r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("IMAGE_DIGESTS.sig", "x"))
		}, want: verify.Failed, checks: []string{"reserved IMAGE_DIGESTS.sig"}})
		add("declared result called like a signature", verdictCase{sign: func(r *verifytest.Run) {
			r.Spec.Results = append(r.Spec.Results, v1.TaskResult{Name: "a.sig", Type: v1.ResultsTypeString})
		}, want: verify.Failed, checks: []string{"reserved a.sig"}})
		add("skipped step", verdictCase{sign: func(r *verifytest.Run) {
			r.Steps[1].Bare, r.Steps[1].Entries = true, nil
		}, tamper: func(tr *v1.TaskRun) {
			tr.Status.Steps[1].TerminationReason = "Skipped"
		}, want: verify.Indeterminate, checks: []string{"coverage"}})
	}
	runVerdictCases(t, cases)
}

func orNothing(change func(*verifytest.Run)) func(*verifytest.Run) {
	if change == nil {
		return func(*verifytest.Run) {}
	}
	return change
}

// urlSafeKey returns another key whose base64url form is not standard base64. One key in twenty has the same
// form in both.
func urlSafeKey() string {
	for {
		if key := otherKey(elliptic.P256()); strings.ContainsAny(key, "-_") {
			return key
		}
	}
}

// standardForm returns unpadded base64url of a P-256 key in standard base64.
func standardForm(key string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(key) + "=="
}

// TestLegacyIdentity tests what only the identities of format v1 contain.
func TestLegacyIdentity(t *testing.T) {
	token, svid := signedAs(v1Format, byKey), signedAs(v1Format, bySPIRE)
	finished := func(at time.Duration) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			tr.Status.Steps[0].Terminated.FinishedAt = metav1.NewTime(verifytest.Start().Add(at))
		}
	}
	carrier := func(name string, change func(string) string) func(*v1.TaskRun) {
		return inStep(0, func(e map[string]string) { e[name] = change(e[name]) })
	}
	failed := func(sign func(*verifytest.Run), tamper func(*v1.TaskRun), checks ...string) verdictCase {
		return verdictCase{sign: sign, tamper: tamper, want: verify.Failed, checks: checks}
	}
	pem := func(change func(string) string) verdictCase {
		return failed(svid, carrier(signing.CarrierSVID, change), "certificate")
	}
	runVerdictCases(t, map[string]verdictCase{
		"renamed TaskRun with an SVID": failed(svid,
			func(tr *v1.TaskRun) { tr.Name, tr.Status.PodName = "other", "other-pod" }, "subject"),
		"renamed TaskRun with a token": failed(token,
			func(tr *v1.TaskRun) { tr.Name, tr.Status.PodName = "other", "other-pod" }, "pod"),
		"URL-safe key": failed(token, carrier(signing.CarrierPublicKey, to(otherKey(elliptic.P256()))),
			"key"),
		"URL-safe key, padded": failed(token, carrier(signing.CarrierPublicKey, to(urlSafeKey()+"==")), "key"),
		"another key": failed(token,
			carrier(signing.CarrierPublicKey, to(standardForm(otherKey(elliptic.P256())))), "token"),
		"payload-bound token": failed(all(token,
			claims(func(c map[string]any) { c["aud"] = signing.AudiencePrefix + ":p:x" })), nil, "token"),
		"tokens of two pods": failed(all(token, bound("pod", "uid", "00000000-0000-4000-8000-000000000000")), nil,
			"pod"),
		"token of no pod":               failed(all(token, bound("pod", "uid", "")), nil, "pod"),
		"the SVID expired before":       failed(svid, finished(3606*time.Second), "time"),
		"the step ended before the run": failed(svid, finished(-2*time.Minute), "time"),
		"the step's end is not known": failed(svid,
			func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.FinishedAt = metav1.Time{} }, "time"),
		"the live pod is another": {
			sign: token, facts: verify.Facts{Live: true, Pod: &verify.PodFacts{
				Found: true, UID: "00000000-0000-4000-8000-000000000000", ControllerUID: "6340374f-3a88-4ff2-812e-c155a2d8e142",
			}}, want: verify.Failed, checks: []string{"pod"},
		},
		"an intermediate authority that nobody knows": {
			sign: all(svid, issuedBy(intermediate(t, theCluster().CA))), want: verify.Indeterminate,
			checks: []string{"certificate"},
		},
		"text before the certificate": pem(func(s string) string { return "x\n" + s }),
		"text behind the certificate": pem(func(s string) string { return s + "\n" }),
		"two certificates":            pem(func(s string) string { return s + s }),
		"another kind of block": pem(func(s string) string {
			return strings.ReplaceAll(s, "CERTIFICATE", "PUBLIC KEY")
		}),
		"headers in the block": pem(func(s string) string {
			return strings.Replace(s, "-----\n", "-----\nA: b\n\n", 1)
		}),
		"other line breaks":        pem(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }),
		"no line break at the end": pem(func(s string) string { return strings.TrimSuffix(s, "\n") }),
		"form of v2":               pem(to("AAAA")),
	})
}

// Many signatures do not make verification slow.
func TestManyLegacySignatures(t *testing.T) {
	tr := newTaskRun(t, func(r *verifytest.Run) {
		signedAs(v1Format, bySPIRE)(r)
		r.Spec.Results = nil
		for i := range 600 {
			name := "r" + strings.Repeat("x", i)
			r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.TaskResult(name, "v"))
			r.Steps[1].Entries = append(r.Steps[1].Entries, verifytest.TaskResult(name, "v"))
		}
	})
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	if got.Verdict != verify.Indeterminate || got.Reason != "signature" {
		t.Errorf("%s %s", got.Verdict, got.Reason)
	}
}
