// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// setMessage replaces a step's message.
func setMessage(step int, message string) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) { tr.Status.Steps[step].Terminated.Message = message }
}

// changeMessage changes the entries of a step's message and writes them back as they are.
func changeMessage(step int, change func([]result.RunResult) []result.RunResult) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) {
		var entries []result.RunResult
		if err := json.Unmarshal([]byte(tr.Status.Steps[step].Terminated.Message), &entries); err != nil {
			panic(err)
		}
		data, err := json.Marshal(change(entries))
		if err != nil {
			panic(err)
		}
		tr.Status.Steps[step].Terminated.Message = string(data)
	}
}

// compress compresses the messages of a TaskRun whose entrypoints were told to do so.
func compress(tr *v1.TaskRun) {
	tr.Status.Provenance = &v1.Provenance{FeatureFlags: &config.FeatureFlags{EnableTerminationMessageCompression: true}}
	for i := range tr.Status.Steps {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write([]byte(tr.Status.Steps[i].Terminated.Message))
		_ = w.Close()
		setMessage(i, "tknz:"+base64.RawStdEncoding.EncodeToString(b.Bytes()))(tr)
	}
}

func TestMessages(t *testing.T) {
	failed := []string{"message"}
	cases := map[string]verdictCase{
		"compressed": {tamper: compress, want: verify.Verified},
		"compressed, but not told to": {tamper: func(tr *v1.TaskRun) {
			compress(tr)
			tr.Status.Provenance = nil
		}, want: verify.Failed, checks: failed},
		"plain text":  {tamper: setMessage(0, "hello"), want: verify.Failed, checks: failed},
		"empty list":  {tamper: setMessage(0, "[]"), want: verify.Failed, checks: failed},
		"null":        {tamper: setMessage(0, "null"), want: verify.Failed, checks: failed},
		"null entry":  {tamper: setMessage(0, "[null]"), want: verify.Failed, checks: failed},
		"internal":    {tamper: inMessage(`[{`, `[{"key":"A","value":"","type":3},{`), want: verify.Failed, checks: failed},
		"no type":     {tamper: inMessage(`[{`, `[{"key":"A","value":""},{`), want: verify.Failed, checks: failed},
		"named type":  {tamper: inMessage(`"type":1`, `"type":"TaskRunResult"`), want: verify.Failed, checks: failed},
		"extra field": {tamper: inMessage(`"type":1`, `"type":1,"resourceName":""`), want: verify.Failed, checks: failed},
		"case":        {tamper: inMessage(`"value"`, `"Value"`), want: verify.Failed, checks: failed},
		"duplicate member": {
			tamper: inMessage(`"key":"TAGS"`, `"key":"TAGS","key":"TAGS"`), want: verify.Failed, checks: failed,
		},
		"cut off": {tamper: func(tr *v1.TaskRun) {
			m := tr.Status.Steps[0].Terminated.Message
			setMessage(0, m[:len(m)/2])(tr)
			tr.Status.Results = nil
		}, want: verify.Failed, checks: failed},
		"unsorted": {tamper: changeMessage(0, func(e []result.RunResult) []result.RunResult {
			slices.Reverse(e)
			return e
		}), want: verify.Failed, checks: failed},
		"key twice": {tamper: changeMessage(0, func(e []result.RunResult) []result.RunResult {
			return append(e, e[len(e)-1])
		}), want: verify.Failed, checks: failed},
		"trailing data": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.Message += "[]" }, want: verify.Failed, checks: failed,
		},
	}
	runVerdictCases(t, cases)
}

func TestReservedNames(t *testing.T) {
	stepResult := func(r *verifytest.Run) {
		r.Steps[0].Carriers = func(c map[string]string) { delete(c, signing.CarrierToken) }
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult(signing.CarrierToken, "x"))
	}
	runVerdictCases(t, map[string]verdictCase{
		"as a step result": {
			sign: stepResult, want: verify.Failed, checks: []string{"reserved SIGNING_TOKEN", "format",
				"step-results SIGNING_TOKEN"},
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Results = nil },
		},
		"declared": {
			sign: func(r *verifytest.Run) {
				r.Spec.Results = append(r.Spec.Results, v1.TaskResult{Name: "SVID", Type: "string"})
			},
			want: verify.Failed, checks: []string{"reserved SVID"},
		},
	})
}

func TestCoverage(t *testing.T) {
	bare := func(steps ...int) func(*verifytest.Run) {
		return func(r *verifytest.Run) {
			for _, i := range steps {
				r.Steps[i].Bare = true
			}
		}
	}
	none := func(steps ...int) func(*verifytest.Run) {
		return func(r *verifytest.Run) {
			for _, i := range steps {
				r.Steps[i].Unsigned = signing.UnsignedTokenDenied
			}
		}
	}
	cancelled := func(tr *v1.TaskRun) { endedByController(tr, string(v1.TaskRunReasonCancelled)) }
	runVerdictCases(t, map[string]verdictCase{
		"no step":          {sign: bare(0, 1), want: verify.Unsigned, checks: []string{"coverage"}},
		"one step missing": {sign: bare(1), want: verify.Failed, checks: []string{"coverage"}},
		"message removed": {
			tamper: func(tr *v1.TaskRun) { setMessage(1, "")(tr); tr.Status.Results = tr.Status.Results[:2] },
			want:   verify.Failed, checks: []string{"coverage"},
		},
		"every step says why": {
			sign: none(0, 1), want: verify.Unsigned, checks: []string{"coverage"}, reason: "token-denied",
		},
		"one step says why": {sign: none(1), want: verify.Unsigned, checks: []string{"coverage"}, reason: "token-denied"},
		"one says why, one nothing": {
			sign: func(r *verifytest.Run) { none(0)(r); bare(1)(r) },
			want: verify.Unsigned, checks: []string{"coverage"}, reason: "token-denied",
		},
		"unsigned and tampered": {
			sign: none(1), tamper: setResult("TAGS", "x"), want: verify.Failed, checks: []string{"results TAGS"},
			reason: "results",
		},
		"unknown reason": {
			sign: func(r *verifytest.Run) { r.Steps[0].Unsigned = "because" }, want: verify.Failed, checks: []string{"format"},
		},
		"cancelled": {tamper: cancelled, want: verify.Verified},
		"cancelled, shown as succeeded": {
			tamper: func(tr *v1.TaskRun) { cancelled(tr); setOutcome(tr, corev1.ConditionTrue, "Succeeded") },
			want:   verify.Failed, checks: []string{"message"},
		},
		"cancelled with a result": {
			tamper: func(tr *v1.TaskRun) {
				results := tr.Status.Results
				cancelled(tr)
				tr.Status.Results = results[:1]
			},
			want: verify.Failed, checks: []string{"results TAGS"},
		},
		"cancelled before any step": {
			tamper: func(tr *v1.TaskRun) { cancelled(tr); tr.Status.Steps = tr.Status.Steps[1:] },
			want:   verify.Unsigned, checks: []string{"coverage"},
		},
		"out of memory": {
			sign: func(r *verifytest.Run) {
				r.Failed = true
				r.Steps[1] = verifytest.Step{Name: "publish", Bare: true, ExitCode: 137, Reason: "OOMKilled",
					Message: func([]result.RunResult) any { return "" }}
			},
			want: verify.Verified,
		},
		"out of memory with results": {
			sign: func(r *verifytest.Run) {
				r.Failed, r.Steps[1].Bare, r.Steps[1].ExitCode, r.Steps[1].Reason = true, true, 137, "OOMKilled"
			},
			want: verify.Failed, checks: []string{"coverage"},
		},
		"step never started": {
			sign: func(r *verifytest.Run) {
				r.Failed, r.Steps[1] = true, verifytest.Step{Name: "publish", Running: true}
			},
			want: verify.Verified,
		},
		"only in status.results": {
			sign: bare(0, 1),
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results = append(tr.Status.Results, v1.TaskRunResult{
					Name: signing.CarrierManifest, Type: "string", Value: *v1.NewStructuredValues("v2:x"),
				})
			},
			want: verify.Indeterminate, checks: []string{"coverage"},
		},
		"no results at all": {
			sign: func(r *verifytest.Run) {
				r.Spec.Results = nil
				for i := range r.Steps {
					r.Steps[i] = verifytest.Step{Name: r.Steps[i].Name, Bare: true,
						Message: func([]result.RunResult) any { return "" }}
				}
			},
			want: verify.NoResults,
		},
		"no results, but signed": {
			sign: func(r *verifytest.Run) {
				r.Spec.Results, r.Steps[0].Entries, r.Steps[1].Entries = nil, nil, nil
			},
			want: verify.Verified,
		},
		"declared, none emitted": {
			sign: func(r *verifytest.Run) {
				for i := range r.Steps {
					r.Steps[i] = verifytest.Step{Name: r.Steps[i].Name, Bare: true,
						Message: func([]result.RunResult) any { return "" }}
				}
			},
			want: verify.Unsigned, checks: []string{"coverage"},
		},
	})
}

func TestFormat(t *testing.T) {
	header := func(change func(*signing.Header)) func(*verifytest.Run) {
		return func(r *verifytest.Run) { r.Steps[0].Change = func(u *signing.Unit) { change(&u.Header) } }
	}
	carriers := func(change func(map[string]string)) func(*verifytest.Run) {
		return func(r *verifytest.Run) { r.Steps[0].Carriers = change }
	}
	failed := []string{"format"}
	runVerdictCases(t, map[string]verdictCase{
		"format v1": {
			sign: carriers(func(c map[string]string) { c[signing.CarrierManifest] = "IMAGE_DIGEST,TAGS" }), want: verify.Failed,
			checks: failed,
		},
		"no manifest": {
			sign: carriers(func(c map[string]string) { delete(c, signing.CarrierManifest) }), want: verify.Failed,
			checks: failed,
		},
		"no token": {
			sign: carriers(func(c map[string]string) { delete(c, signing.CarrierToken) }), want: verify.Failed, checks: failed,
		},
		"a signature too many": {
			sign: carriers(func(c map[string]string) { c[signing.CarrierManifestSignature] = "AA" }), want: verify.Failed,
			checks: failed,
		},
		"two backends": {
			sign: carriers(func(c map[string]string) { c[signing.CarrierSVID] = "AA" }), want: verify.Failed, checks: failed,
		},
		"none: with a token": {
			sign: carriers(func(c map[string]string) { c[signing.CarrierManifest] = "none:too-long" }), want: verify.Failed,
			checks: failed,
		},
		"unknown flag":    {sign: header(func(h *signing.Header) { h.Flags |= 8 }), want: verify.Failed, checks: failed},
		"unknown backend": {sign: header(func(h *signing.Header) { h.Scheme = 9 }), want: verify.Failed, checks: failed},
		"another backend": {
			sign: func(r *verifytest.Run) {
				for i := range r.Steps {
					r.Steps[i].Change = func(u *signing.Unit) {
						u.Header.Scheme, u.Header.Algorithm = signing.SchemeSigstore, signing.AlgorithmECDSAP256
					}
					r.Steps[i].Carriers = func(c map[string]string) {
						delete(c, signing.CarrierToken)
						c[signing.CarrierManifestSignature], c[signing.CarrierCertificate] = "AA", "AA"
					}
				}
			},
			want: verify.Indeterminate, checks: failed,
		},
		"values by message although the evidence says by log": {
			sign: header(func(h *signing.Header) { h.Flags |= signing.FlagSidecarLogs }), want: verify.Failed,
			checks: []string{"message IMAGE_DIGEST", "format", "payload"},
		},
		"entries miscounted": {
			sign: header(func(h *signing.Header) { h.Entries++ }), want: verify.Failed, checks: []string{"payload"},
		},
		"another position": {
			sign: header(func(h *signing.Header) { h.Index, h.Flags = 1, signing.FlagLast }), want: verify.Failed,
			checks: []string{"position"},
		},
		"another TaskRun": {
			sign: header(func(h *signing.Header) { h.TaskRunUID[0]++ }), want: verify.Failed, checks: []string{"taskrun-uid"},
		},
		"another pod": {
			sign: header(func(h *signing.Header) { h.PodUID[0]++ }), want: verify.Failed, checks: []string{"pod"},
		},
		"claims success of a failed step": {
			sign: func(r *verifytest.Run) {
				r.Steps[0].Change = func(u *signing.Unit) { u.Header.Flags |= signing.FlagStepFails }
			},
			want: verify.Failed, checks: []string{"succeeded"},
		},
		"another name signed": {
			sign: func(r *verifytest.Run) { r.Steps[0].Change = func(u *signing.Unit) { u.TaskRun = "other" } },
			want: verify.Failed, checks: []string{"payload"},
		},
	})
}
