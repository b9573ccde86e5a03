// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

const (
	uid      = "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"
	otherUID = "1b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"
	// Two P-256 keys (RFC 7517, appendix A.1, and RFC 7515, appendix A.3).
	keyA = `{"kty":"EC","kid":"a","alg":"ES256","crv":"P-256",` +
		`"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`
	keyB = `{"kty":"EC","kid":"b","alg":"ES256","crv":"P-256",` +
		`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
)

// bundle returns a trust bundle with one cluster, whose members are the given text.
func bundle(cluster string) string {
	return `{"apiVersion":"tekton-sign.dev/v1alpha1","kind":"TrustBundle","clusters":[{"uid":"` + uid + `"` +
		cluster + `}]}`
}

// keys returns the member serviceAccountIssuers of a cluster.
func keys(list ...string) string {
	entries := make([]string, len(list))
	for i, key := range list {
		entries[i] = `{"jwk":` + key + `}`
	}
	return `,"serviceAccountIssuers":[{"issuer":"https://i","keys":[` + strings.Join(entries, ",") + `]}]`
}

func TestParse(t *testing.T) {
	text := bundle(`,"name":"prod"` + keys(keyB, keyA))
	got, err := trust.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if ids := got.Clusters[0].ServiceAccountIssuers[0].Keys; len(ids) != 2 || ids[0].JWK.KeyID != "b" {
		t.Errorf("keys %+v", ids)
	}
	once, err := got.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := trust.Parse(once)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := again.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(once), string(twice)); diff != "" {
		t.Errorf("writing is not stable (-once +twice):\n%s", diff)
	}
	swapped, err := trust.Parse([]byte(bundle(`,"name":"prod"` + keys(keyA, keyB))))
	if err != nil {
		t.Fatal(err)
	}
	if other, err := swapped.Marshal(); err != nil || !bytes.Equal(once, other) {
		t.Errorf("the order of keys shows (%v):\n%s\n%s", err, once, other)
	}
}

func TestParseRefuses(t *testing.T) {
	window := func(window string) string {
		return bundle(`,"serviceAccountIssuers":[{"issuer":"https://i","keys":[{"jwk":` + keyA + window + `}]}]`)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "empty"},
		"blank":           {" \n", "empty"},
		"no JSON":         {"apiVersion: x", "expected a trust bundle in JSON"},
		"a TaskRun":       {`{"apiVersion":"tekton.dev/v1","kind":"TaskRun"}`, `kind "TrustBundle"`},
		"another version": {`{"apiVersion":"tekton-sign.dev/v2","kind":"TrustBundle"}`, `got "tekton-sign.dev/v2"`},
		"trailing data":   {bundle("") + "{}", "invalid character"},
		"unknown field":   {bundle(`,"colour":"red"`), "colour"},
		"another case":    {bundle(`,"Name":"x"`), "Name"},
		"key twice":       {bundle(`,"name":"x","name":"y"`), "occurs twice"},
		"no UID":          {strings.Replace(bundle(""), uid, "", 1), "uid"},
		"UID no UUID":     {strings.Replace(bundle(""), uid, "prod", 1), "uid"},
		"cluster twice":   {strings.Replace(bundle(""), `}]`, `},{"uid":"`+uid+`"}]`, 1), "occurs twice"},
		"private key": {
			bundle(keys(strings.Replace(keyA, `}`, `,"d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}`, 1))), "private key",
		},
		"symmetric key": {bundle(keys(`{"kty":"oct","kid":"a","alg":"HS256"}`)), `key "a"`},
		"off curve":     {bundle(keys(strings.Replace(keyA, "MKBC", "AAAA", 1))), `key "a"`},
		"no key ID":     {bundle(keys(strings.Replace(keyA, `"kid":"a",`, "", 1))), "no kid"},
		"the same key":  {bundle(keys(keyA, keyA)), `key "a" occurs twice`},
		"one ID, two keys": {
			bundle(strings.Replace(keys(keyA), `}]`, `}]},{"issuer":"https://j","keys":[{"jwk":`+
				strings.Replace(keyB, `"b"`, `"a"`, 1)+`}]`, 1)), "two different keys",
		},
		"no issuer": {strings.Replace(bundle(keys(keyA)), "https://i", "", 1), "issuer is empty"},
		"no time":   {window(`,"notBefore":"yesterday"`), "time"},
		"window reversed": {
			window(`,"notBefore":"2026-01-02T00:00:00Z","notAfter":"2026-01-01T00:00:00Z"`), "before notBefore",
		},
		"no certificate":   {bundle(`,"spiffe":[{"trustDomain":"d","x509Authorities":[{"der":"AAAA"}]}]`), "authority 0"},
		"base64 with line": {bundle(`,"spiffe":[{"trustDomain":"d","x509Authorities":[{"der":"AA\nAA"}]}]`), "authority 0"},
		"too large":        {strings.Repeat(" ", trust.MaxBytes+1), "at most"},
	} {
		if _, err := trust.Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
	}
	for name, text := range map[string]string{
		"no keys": bundle(""), "keys": bundle(keys(keyA, keyB)), "in use": window(`,"notAfter":""`),
		"one key, two issuers": bundle(strings.Replace(keys(keyA), `}]`,
			`}]},{"issuer":"https://j","keys":[{"jwk":`+keyA+`}]`, 1)),
	} {
		if _, err := trust.Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChooseCluster(t *testing.T) {
	two := &trust.Bundle{Clusters: []trust.Cluster{{Name: "prod", UID: uid}, {Name: "test", UID: otherUID}}}
	same := &trust.Bundle{Clusters: []trust.Cluster{{Name: "prod", UID: uid}, {Name: "prod", UID: otherUID}}}
	one := &trust.Bundle{Clusters: two.Clusters[:1]}
	for name, c := range map[string]struct {
		bundle       *trust.Bundle
		choice, want string // want is a UID, or part of the error
	}{
		"the only one":  {one, "", uid},
		"by name":       {two, "test", otherUID},
		"by UID":        {two, uid, uid},
		"no choice":     {two, "", "--trust-bundle-cluster"},
		"unknown":       {one, "test", `no cluster "test"`},
		"ambiguous":     {same, "prod", "by its UID"},
		"empty bundle":  {&trust.Bundle{}, "", "holds no cluster"},
		"by UID, twins": {same, otherUID, otherUID},
	} {
		got, err := c.bundle.Cluster(c.choice)
		switch {
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		case err == nil && got.UID != c.want:
			t.Errorf("%s: got %s, want %q", name, got, c.want)
		}
	}
}

// apiServer returns the client of an API server with these answers to its discovery paths.
func apiServer(t *testing.T, answers map[string]string) rest.Interface {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			answer = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"no","code":403}`
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client.CoreV1().RESTClient()
}

func discovery(jwks string) map[string]string {
	return map[string]string{
		"/.well-known/openid-configuration": `{"issuer":"https://i","jwks_uri":"https://elsewhere/jwks",` +
			`"id_token_signing_alg_values_supported":["RS256"]}`,
		"/openid/v1/jwks": jwks,
		"/api/v1/namespaces/kube-system": `{"kind":"Namespace","apiVersion":"v1",` +
			`"metadata":{"name":"kube-system","uid":"` + uid + `"}}`,
	}
}

func TestFetch(t *testing.T) {
	withUse := strings.Replace(keyA, `}`, `,"use":"sig","x5c":["AA"]}`, 1)
	got, err := trust.Fetch(t.Context(), apiServer(t, discovery(`{"keys":[`+withUse+`]}`)), "prod")
	if err != nil {
		t.Fatal(err)
	}
	var want trust.JWK
	if err := json.Unmarshal([]byte(keyA), &want); err != nil {
		t.Fatal(err)
	}
	diff := cmp.Diff(&trust.Cluster{
		Name: "prod", UID: uid,
		ServiceAccountIssuers: []trust.Issuer{{Issuer: "https://i", Keys: []trust.IssuerKey{{JWK: want}}}},
		Recorders:             []trust.Recorder{{Subject: "system:serviceaccount:tekton-sign:controller"}},
	}, got)
	if diff != "" {
		t.Errorf("cluster differs (-want +got):\n%s", diff)
	}
}

func TestFetchRefuses(t *testing.T) {
	without := func(path string) map[string]string {
		answers := discovery(`{"keys":[` + keyA + `]}`)
		delete(answers, path)
		return answers
	}
	for name, c := range map[string]struct {
		answers   map[string]string
		forbidden bool
		want      string
	}{
		"no permission on discovery": {
			without("/.well-known/openid-configuration"), true, "get /.well-known/openid-configuration",
		},
		"no permission on keys":      {without("/openid/v1/jwks"), true, "get /openid/v1/jwks"},
		"no permission on namespace": {without("/api/v1/namespaces/kube-system"), true, "get the namespace kube-system"},
		"no keys":                    {discovery(`{"keys":[]}`), false, "1 to 64"},
		"too many keys": {
			discovery(`{"keys":[` + strings.TrimSuffix(strings.Repeat(keyA+",", 65), ",") + `]}`), false, "1 to 64",
		},
		"a member twice": {discovery(`{"keys":[` + keyA + `],"keys":[]}`), false, "occurs twice"},
		"no JSON":        {discovery(`<html>`), false, "invalid character"},
	} {
		_, err := trust.Fetch(t.Context(), apiServer(t, c.answers), "")
		if err == nil || apierrors.IsForbidden(err) != c.forbidden || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(bundle(keys(keyA, keyB))))
	f.Add(
		[]byte(bundle(`,"spiffe":[{"trustDomain":"d","federated":true,"x509Authorities":[]}],"recorders":[{"subject":"s"}]`)))
	f.Add([]byte(`{"apiVersion":"tekton-sign.dev/v1alpha1","kind":"TrustBundle","sigstore":{"trustedRoot":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := trust.Parse(data)
		if err != nil {
			return
		}
		once, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := trust.Parse(once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if twice, err := again.Marshal(); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("writing is not stable: %v\n%s\n%s", err, once, twice)
		}
	})
}
