// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
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

// claims changes the claims of the first step's token.
func claims(change func(map[string]any)) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Steps[0].Claims = change }
}

// bound changes what the first step's token is bound to.
func bound(object, key, value string) func(*verifytest.Run) {
	return claims(func(c map[string]any) {
		k := c["kubernetes.io"].(map[string]any)
		if object == "" {
			k[key] = value
			return
		}
		k[object].(map[string]any)[key] = value
	})
}

func TestToken(t *testing.T) {
	token := []string{"token"}
	audience := func(list ...string) func(*verifytest.Run) {
		return claims(func(c map[string]any) { c["aud"] = list })
	}
	at := func(offset time.Duration) func(*verifytest.Run) {
		return claims(func(c map[string]any) {
			issued := verifytest.Start().Add(offset).Unix()
			c["iat"], c["nbf"], c["exp"] = issued, issued, issued+600
		})
	}
	raw := func(token string) func(*verifytest.Run) {
		return func(r *verifytest.Run) { r.Steps[0].Token = func(map[string]any) string { return token } }
	}
	valid := signing.PayloadAudience(signing.AudiencePrefix, signing.Digest{})
	runVerdictCases(t, map[string]verdictCase{
		"of another payload": {sign: audience(valid), want: verify.Failed, checks: []string{"payload"}},
		"for two audiences":  {sign: audience(valid, valid), want: verify.Failed, checks: token},
		"fixed audience":     {sign: audience(signing.AudiencePrefix), want: verify.Failed, checks: token},
		"another form": {
			sign: audience(strings.Replace(valid, ":p:", ":k:", 1)), want: verify.Failed, checks: token,
		},
		"another prefix":    {sign: audience("x" + valid), want: verify.Failed, checks: token},
		"longer digest":     {sign: audience(valid + "A"), want: verify.Failed, checks: token},
		"no digest":         {sign: audience(signing.AudiencePrefix + ":p:"), want: verify.Failed, checks: token},
		"for somebody else": {sign: audience("vault"), want: verify.Failed, checks: token},
		"for the API server": {
			sign: audience(verifytest.Issuer), want: verify.Failed, checks: []string{"credential-leak"},
		},
		"also for it": {
			sign: audience(valid, "https://kubernetes.default.svc"), want: verify.Failed, checks: []string{"credential-leak"},
		},
		"for nobody": {
			sign: claims(func(c map[string]any) { delete(c, "aud") }), want: verify.Failed, checks: []string{"credential-leak"},
		},
		"namespace":       {sign: bound("", "namespace", "prod"), want: verify.Failed, checks: token},
		"service account": {sign: bound("serviceaccount", "name", "admin"), want: verify.Failed, checks: token},
		"pod name":        {sign: bound("pod", "name", "other"), want: verify.Failed, checks: []string{"pod"}},
		"pod UID":         {sign: bound("pod", "uid", "other"), want: verify.Failed, checks: []string{"pod"}},
		"subject": {
			sign: claims(func(c map[string]any) { c["sub"] = "system:serviceaccount:ci:admin" }), want: verify.Failed,
			checks: token,
		},
		"unbound": {
			sign: claims(func(c map[string]any) { delete(c, "kubernetes.io") }), want: verify.Failed,
			checks: []string{"pod", "token"}, reason: "pod",
		},
		"lives an hour": {
			sign: claims(func(c map[string]any) { c["exp"] = c["iat"].(int64) + 3600 }), want: verify.Failed, checks: token,
		},
		"expires before issued": {
			sign: claims(func(c map[string]any) { c["exp"] = c["iat"].(int64) - 1 }), want: verify.Failed, checks: token,
		},
		"valid later": {
			sign: claims(func(c map[string]any) { c["nbf"] = c["iat"].(int64) + 60 }), want: verify.Failed, checks: token,
		},
		"before the TaskRun": {sign: at(-61 * time.Second), want: verify.Failed, checks: []string{"time"}},
		"a little before it": {sign: at(-59 * time.Second), want: verify.Verified},
		"after the TaskRun":  {sign: at(time.Minute + 301*time.Second), want: verify.Failed, checks: []string{"time"}},
		"a little after it":  {sign: at(time.Minute + 299*time.Second), want: verify.Verified},
		"no token":           {sign: raw("x"), want: verify.Failed, checks: token},
		"too long":           {sign: raw(strings.Repeat("a", 9000)), want: verify.Failed, checks: token},
		"no ID":              {sign: claims(func(c map[string]any) { delete(c, "jti") }), want: verify.Verified},
		"ID twice": {
			sign: func(r *verifytest.Run) {
				for i := range r.Steps {
					r.Steps[i].Claims = func(c map[string]any) { c["jti"] = "one" }
				}
			},
			want: verify.Failed, checks: []string{"token-reuse"},
		},
		"two service accounts": {
			sign: claims(func(c map[string]any) {
				c["sub"] = "system:serviceaccount:ci:admin"
				c["kubernetes.io"].(map[string]any)["serviceaccount"] = map[string]any{"name": "admin"}
			}),
			want: verify.Failed, checks: token,
		},
		"of another issuer": {
			sign: claims(func(c map[string]any) { c["iss"] = "https://evil.example" }), want: verify.Failed,
			checks: []string{"key"},
		},
		"unsigned": {
			sign: func(r *verifytest.Run) {
				r.Steps[0].Token = func(c map[string]any) string {
					data, _ := json.Marshal(c)
					return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
						base64.RawURLEncoding.EncodeToString(data) + "."
				}
			},
			want: verify.Failed, checks: token,
		},
		"signature changed": {
			sign: func(r *verifytest.Run) {
				r.Steps[0].Token = func(c map[string]any) string {
					signed, err := theCluster().Token(c)
					if err != nil {
						panic(err)
					}
					end := signed[:len(signed)-8]
					return end + "AAAAAAAA"[:4] + signed[len(signed)-4:]
				}
			},
			want: verify.Failed, checks: []string{"signature"},
		},
	})
}

func TestTokenOutsideOfTheRunIsAWarning(t *testing.T) {
	tr := newTaskRun(t, claims(func(c map[string]any) {
		issued := verifytest.Start().Add(3 * time.Minute).Unix()
		c["iat"], c["nbf"], c["exp"] = issued, issued, issued+600
	}))
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	warned := slices.ContainsFunc(got.Checks, func(c verify.Check) bool {
		return c.ID == verify.CheckTime && c.Status == verify.Warn
	})
	if got.Verdict != verify.Verified || !warned {
		t.Errorf("verdict %s, checks %+v", got.Verdict, got.Checks)
	}
	strict := newVerifier(t, verify.WithClockSkew(0)).TaskRun(t.Context(), tr, verify.Facts{})
	if strict.Verdict != verify.Failed || strict.Reason != "time" {
		t.Errorf("without skew: verdict %s, reason %s", strict.Verdict, strict.Reason)
	}
}

// A clock that is behind refutes nothing and proves nothing.
func TestTokenFromTheFuture(t *testing.T) {
	forged := newTaskRun(t, nil)
	forged.Status.Results[0].Value.StringVal = "forged"
	late := newTaskRun(t, nil)
	late.Status.CompletionTime = &metav1.Time{Time: late.CreationTimestamp.Time}
	open := newTaskRun(t, nil)
	open.Status.CompletionTime = nil
	behind := func(by time.Duration) verify.Option {
		return verify.WithClock(func() time.Time { return verifytest.Start().Add(-by) })
	}
	for name, test := range map[string]struct {
		tr      *v1.TaskRun
		options []verify.Option
		want    string
	}{
		"ten minutes behind": {
			newTaskRun(t, nil), []verify.Option{behind(10 * time.Minute)}, "INDETERMINATE clock-behind",
		},
		"within the skew":               {newTaskRun(t, nil), []verify.Option{behind(time.Minute)}, "VERIFIED "},
		"something is forged as well":   {forged, []verify.Option{behind(10 * time.Minute)}, "FAILED results"},
		"nobody says when it completed": {open, []verify.Option{behind(10 * time.Minute)}, "INDETERMINATE clock-behind"},
		"signed after the end, by itself": {
			late, []verify.Option{behind(10 * time.Minute), verify.WithClockSkew(0)}, "FAILED time",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := newVerifier(t, test.options...).TaskRun(t.Context(), test.tr, verify.Facts{})
			if s := string(got.Verdict) + " " + got.Reason; s != test.want {
				t.Errorf("expected %s, got %s: %s", test.want, s, got.Message)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	at := func(offset time.Duration) trust.Timestamp {
		return trust.Timestamp{Time: verifytest.Start().Add(offset)}
	}
	other, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := other.JWK()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*trust.Cluster)
		want    verify.Verdict
		checks  []string
		missing bool
	}{
		"in use":    {func(*trust.Cluster) {}, verify.Verified, nil, false},
		"none":      {func(c *trust.Cluster) { c.ServiceAccountIssuers = nil }, verify.Indeterminate, []string{"key"}, true},
		"retired":   {func(c *trust.Cluster) { key(c).NotAfter = at(-time.Hour) }, verify.Failed, []string{"key"}, false},
		"later":     {func(c *trust.Cluster) { key(c).NotBefore = at(2 * time.Hour) }, verify.Verified, nil, false},
		"of before": {func(c *trust.Cluster) { key(c).NotAfter = at(-59 * time.Minute) }, verify.Verified, nil, false},
		"another key of that ID": {func(c *trust.Cluster) {
			jwk := otherKey
			jwk.KeyID = key(c).JWK.KeyID
			key(c).JWK = jwk
		}, verify.Failed, []string{"token"}, false},
		"another issuer": {
			func(c *trust.Cluster) {
				c.ServiceAccountIssuers[0].Issuer = "https://other.example"
			}, verify.Failed, []string{"key"}, false,
		},
		"weak": {func(c *trust.Cluster) {
			key(c).JWK.N = base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 127)...))
		}, verify.Failed, []string{"key"}, false},
		"not for its type": {
			func(c *trust.Cluster) { key(c).JWK.Algorithm = "PS256" }, verify.Failed, []string{"key"}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, err := theCluster().Trust()
			if err != nil {
				t.Fatal(err)
			}
			c.change(cluster)
			v, err := verify.New(cluster, verify.WithClock(func() time.Time { return verifytest.Start().Add(time.Hour) }),
				verify.WithUnrecorded())
			if err != nil {
				t.Fatal(err)
			}
			got := v.TaskRun(t.Context(), newTaskRun(t, nil), verify.Facts{})
			compareVerdict(t, verdictCase{want: c.want, checks: c.checks}, got)
			if missing := got.MissingKey == theCluster().KeyID; missing != c.missing {
				t.Errorf("missing key is %q", got.MissingKey)
			}
		})
	}
}

func key(c *trust.Cluster) *trust.IssuerKey { return &c.ServiceAccountIssuers[0].Keys[0] }

// An unknown key does not hide a mismatch: the signed content is different, no matter who signed it.
func TestUnknownKeyAndTampered(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	cluster.ServiceAccountIssuers = nil
	v, err := verify.New(cluster, verify.WithClock(func() time.Time { return verifytest.Start().Add(time.Hour) }),
		verify.WithUnrecorded())
	if err != nil {
		t.Fatal(err)
	}
	tr := newTaskRun(t, nil)
	inMessage("sha256:2c26", "sha256:2c27")(tr)
	if got := v.TaskRun(t.Context(), tr, verify.Facts{}); got.Verdict != verify.Failed || got.Reason != "payload" {
		t.Errorf("verdict %s, reason %s", got.Verdict, got.Reason)
	}
}

func TestEllipticKeys(t *testing.T) {
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := cluster.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(trusted, verify.WithClock(func() time.Time { return verifytest.Start().Add(time.Hour) }),
		verify.WithUnrecorded())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := verifytest.NewRun().TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.TaskRun(t.Context(), tr, verify.Facts{}); got.Verdict != verify.Verified {
		t.Errorf("verdict %s: %+v", got.Verdict, got.Checks)
	}
}

func TestDeclaration(t *testing.T) {
	promote := func(r *verifytest.Run) {
		r.Spec.Results = append(r.Spec.Results, v1.TaskResult{
			Name: "SCAN", Type: "string", Value: v1.NewStructuredValues("$(steps.build.results.scan)"),
		})
		r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: "string"}}
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", "clean"))
	}
	mismatched := func(r *verifytest.Run) {
		r.Spec.Results[1].Type = v1.ResultsTypeString
		r.Steps[0].Entries[1].Value = `no array`
	}
	// drop removes a result that does not have its declared type, as Tekton's reconciler does.
	drop := func(tr *v1.TaskRun) {
		tr.Spec.TaskSpec.Results[1].Type = v1.ResultsTypeArray
		tr.Status.TaskSpec.Results[1].Type = v1.ResultsTypeArray
		tr.Status.Results = slices.Delete(tr.Status.Results, 1, 2)
	}
	failValidation := func(tr *v1.TaskRun) {
		setOutcome(tr, corev1.ConditionFalse, string(v1.TaskRunReasonFailedValidation))
	}
	live := verify.Facts{Live: true}
	runVerdictCases(t, map[string]verdictCase{
		"promoted, live":   {sign: promote, facts: live, want: verify.Verified},
		"promoted, a file": {sign: promote, want: verify.Indeterminate, checks: []string{"declaration SCAN"}},
		"promoted value changed": {
			sign: promote, facts: live, tamper: setResult("SCAN", "dirty"), want: verify.Failed,
			checks: []string{"results SCAN"},
		},
		"status.taskSpec changed, live": {
			facts: live, tamper: func(tr *v1.TaskRun) { tr.Status.TaskSpec.Results[0].Name = "OTHER" },
			want: verify.Failed, checks: []string{"declaration"},
		},
		"type changed everywhere, live": {
			facts: live, tamper: func(tr *v1.TaskRun) {
				tr.Status.TaskSpec.Results[1].Type = v1.ResultsTypeString
				tr.Status.Results[1].Type = v1.ResultsTypeString
				tr.Status.Results[1].Value = *v1.NewStructuredValues(`["v1.4.0","latest"]`)
			},
			want: verify.Failed, checks: []string{"declaration", "results TAGS"},
		},
		"no status.taskSpec": {tamper: func(tr *v1.TaskRun) { tr.Status.TaskSpec = nil }, want: verify.Verified},
		"dropped": {
			sign: mismatched, facts: live, tamper: func(tr *v1.TaskRun) { drop(tr); failValidation(tr) }, want: verify.Verified,
		},
		"dropped, shown as succeeded": {
			sign: mismatched, facts: live, tamper: drop, want: verify.Failed, checks: []string{"declaration TAGS"},
		},
		"dropped by a changed declaration": {
			sign: mismatched, tamper: drop, want: verify.Failed, checks: []string{"declaration TAGS"},
		},
		"enforcement emptied the results": {
			tamper: func(tr *v1.TaskRun) {
				setOutcome(tr, corev1.ConditionFalse, verify.ReasonVerificationFailed)
				tr.Status.Results = nil
			},
			want: verify.Verified,
		},
	})
}

func TestUnprovenTypesAreNoted(t *testing.T) {
	got := newVerifier(t).TaskRun(t.Context(), newTaskRun(t, nil), verify.Facts{})
	var noted []string
	for _, c := range got.Checks {
		if c.ID == verify.CheckDeclaration && c.Status == verify.Note {
			noted = append(noted, c.Result)
		}
	}
	if want := []string{"TAGS", "SOURCE"}; !slices.Equal(noted, want) {
		t.Errorf("noted %q, want %q", noted, want)
	}
	if len(got.Caveats) == 0 {
		t.Error("it is not said that the declaration is not proven")
	}
}
