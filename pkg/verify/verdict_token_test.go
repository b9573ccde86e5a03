// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

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
