// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// keys makes cases of trust bundles: keys that are unknown, retired or weak, and files that are not trust
// bundles.
func (m *maker) keys() {
	file := m.text(m.sign(m.newRun()))
	if m.err != nil {
		return
	}
	m.wholeBundles(file)
	m.brokenBundles(file)
}

// at returns a time relative to the start of TaskRuns.
func at(offset time.Duration) trust.Timestamp {
	return trust.Timestamp{Time: verifytest.Start().Add(offset)}
}

// wholeBundles makes cases of bundles that can be read.
func (m *maker) wholeBundles(file []byte) {
	other, err := verifytest.NewECCluster()
	if err != nil {
		m.err = err
		return
	}
	otherKey, err := other.JWK()
	if err != nil {
		m.err = err
		return
	}
	key := failed(verify.CheckKey)
	first := func(c *trust.Cluster) *trust.IssuerKey { return &c.ServiceAccountIssuers[0].Keys[0] }
	for _, c := range []struct {
		name   string
		want   Want
		change func(*trust.Cluster)
	}{
		{"no keys", missing(verify.CheckKey), func(c *trust.Cluster) { c.ServiceAccountIssuers = nil }},
		{"another key", missing(verify.CheckKey), func(c *trust.Cluster) { first(c).JWK = otherKey }},
		{"another key of that ID", failed(verify.CheckToken), func(c *trust.Cluster) {
			id := first(c).JWK.KeyID
			first(c).JWK = otherKey
			first(c).JWK.KeyID = id
		}},
		{"another issuer", key, func(c *trust.Cluster) { c.ServiceAccountIssuers[0].Issuer = "https://other.example" }},
		{"issuer with a slash", key, func(c *trust.Cluster) { c.ServiceAccountIssuers[0].Issuer += "/" }},
		{"retired", key, func(c *trust.Cluster) { first(c).NotAfter = at(-2 * time.Hour) }},
		{"retired while it ran", verified(), func(c *trust.Cluster) { first(c).NotAfter = at(-30 * time.Minute) }},
		{"first seen later", verified(), func(c *trust.Cluster) { first(c).NotBefore = at(time.Hour) }},
		{"key of 1024 bits", key, func(c *trust.Cluster) {
			first(c).JWK.N = base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 127)...))
		}},
		{"key for another algorithm", key, func(c *trust.Cluster) { first(c).JWK.Algorithm = "PS256" }},
	} {
		cluster, err := m.cluster.Trust()
		if err != nil {
			m.err = err
			return
		}
		c.change(cluster)
		bundle, err := (&trust.Bundle{Clusters: []trust.Cluster{*cluster}}).Marshal()
		if err != nil {
			m.err = err
			return
		}
		m.cases = append(m.cases, Case{Name: "bundle/" + c.name, File: file, Bundle: bundle, Want: c.want})
	}
}

// brokenBundles makes cases of files that must not be read as a bundle.
func (m *maker) brokenBundles(file []byte) {
	text := string(m.bundle)
	replace := func(old, new string) string {
		if !strings.Contains(text, old) {
			panic("the trust bundle holds no " + old)
		}
		return strings.Replace(text, old, new, 1)
	}
	var second trust.Bundle
	if m.err = json.Unmarshal(m.bundle, &second); m.err != nil {
		return
	}
	second.Clusters = append(second.Clusters, second.Clusters[0])
	second.Clusters[1].UID = "11111111-2222-4333-8444-555555555555"
	two, err := second.Marshal()
	if err != nil {
		m.err = err
		return
	}
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"no JSON", "keys:"},
		{"cut off", text[:len(text)/2]},
		{"trailing data", text + "{}"},
		{"another kind", replace(`"TrustBundle"`, `"TaskRun"`)},
		{"another version", replace("v1alpha1", "v9")},
		{"private key", replace(`"kty"`, `"d":"AQAB","kty"`)},
		{"member twice", replace(`"kty"`, `"kty":"oct","kty"`)},
		{"member in another case", replace(`"clusters"`, `"Clusters"`)},
		{"unknown member", replace(`"uid"`, `"use":"sig","uid"`)},
		{"symmetric key", replace(`"kty": "RSA"`, `"kty": "oct"`)},
		{"key with line breaks", replace(`"e": "AQAB"`, `"e": "AQ\nAB"`)},
		{"cluster without UID", replace(verifytest.ClusterUID, "")},
		{"two clusters and no choice", string(two)},
		{"nested deeply", strings.Repeat(`{"clusters":[`, 100)},
		{"too large", text + strings.Repeat(" ", 9<<20)},
	} {
		m.cases = append(m.cases, Case{Name: "bundle/" + c.name, File: file, Bundle: []byte(c.text), Want: unreadable()})
	}
	m.cases = append(m.cases,
		Case{Name: "bundle/two clusters and a choice", File: file, Bundle: two, Want: verified(),
			Args: []string{"--trust-bundle-cluster", verifytest.ClusterUID}},
		Case{Name: "bundle/no such cluster", File: file, Bundle: m.bundle, Want: unreadable(),
			Args: []string{"--trust-bundle-cluster", "prod"}},
		Case{Name: "bundle/pinned", File: file, Bundle: m.bundle, Want: verified(),
			Args: []string{"--trust-bundle-sha256", trust.SHA256(m.bundle)}},
		Case{Name: "bundle/pinned otherwise", File: file, Bundle: m.bundle, Want: unreadable(),
			Args: []string{"--trust-bundle-sha256", strings.Repeat("0", 64)}},
	)
}
