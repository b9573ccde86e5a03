// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// withSPIRE adds an authority of each trust domain to a cluster whose own one is own, as the add-on does.
func withSPIRE(c *trust.Cluster, own string, authorities map[string]string) *trust.Cluster {
	c.TrustDomain, c.Domains = own, nil
	for domain, der := range authorities {
		c.Domains = append(c.Domains, trust.Domain{
			TrustDomain: domain, Federated: domain != own, X509Authorities: []trust.X509Authority{{DER: der}},
		})
	}
	return c
}

// TestHistoryOutlivesATrustDomain checks that a cluster whose trust domain has changed, or was mistyped for a
// while, keeps a usable history: with the retired keys of the issuer, and one trust domain of its own, that in use.
func TestHistoryOutlivesATrustDomain(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	type spire struct {
		own         string
		authorities map[string]string
	}
	for name, tc := range map[string]struct {
		looks []spire
		want  string
	}{
		"mistyped": {[]spire{{"wrong", map[string]string{"a": before}}, {"a", map[string]string{"a": before}}}, "a"},
		"changed":  {[]spire{{"a", map[string]string{"a": before}}, {"b", map[string]string{"b": after}}}, "b"},
		"a federated one, mistyped": {[]spire{
			{"b", map[string]string{"a": before, "b": after}}, {"a", map[string]string{"a": before, "b": after}},
		}, "a"},
		"back again": {[]spire{
			{"a", map[string]string{"a": before}}, {"b", map[string]string{"b": after}}, {"a", map[string]string{"a": before}},
		}, "a"},
		"no more SPIRE": {[]spire{
			{"a", map[string]string{"a": before}}, {"b", map[string]string{"b": after}}, {},
		}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			old, current := newJWK(t, "old"), newJWK(t, "current")
			h := trust.History{}
			observe(t, h, liveCluster(old), day(1))
			for i, s := range tc.looks {
				observe(t, h, withSPIRE(liveCluster(current), s.own, s.authorities), day(2+i))
			}
			got, err := h.Cluster("prod", uid)
			if err != nil {
				t.Fatal(err)
			}
			if got.TrustDomain != tc.want || len(got.ServiceAccountIssuers[0].Keys) != 2 {
				t.Errorf("got %+v, want trust domain %s and both keys of the issuer", got, tc.want)
			}
			for _, b := range got.Domains {
				if b.Federated != (b.TrustDomain != tc.want) {
					t.Errorf("bundle of %s: federated %v", b.TrustDomain, b.Federated)
				}
			}
		})
	}
}
