// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// bundleOf returns a new authority of a trust domain.
func bundleOf(t *testing.T, domain string, federated bool) []trust.Domain {
	t.Helper()
	ca, err := verifytest.NewCA(domain)
	if err != nil {
		t.Fatal(err)
	}
	return []trust.Domain{{TrustDomain: domain, Federated: federated, X509Authorities: []trust.X509Authority{
		{DER: base64.StdEncoding.EncodeToString(ca.Certificate.Raw)},
	}}}
}

// TestHistoryFederated: a federated trust domain that replaces its authority again and again takes no room in the
// history. What it uses now is known, so that its signatures are refused by its name.
func TestHistoryFederated(t *testing.T) {
	l := newHistoryLab(t)
	h := l.replica()
	l.live = []trust.JWK{newKey(t)}
	l.spiffe = bundleOf(t, "own.test", false)
	for range 20 {
		l.foreign = bundleOf(t, "foreign.test", true)
		got, err := h.Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Domains) != 2 {
			t.Fatalf("got bundles %v, want the own one and the federated one", got.Domains)
		}
		if diff := cmp.Diff(l.foreign[0], got.Domains[1]); diff != "" {
			t.Errorf("federated authorities (-want +got):\n%s", diff)
		}
		l.sync(h)
	}
	var domains []string
	for key, sightings := range l.stored() {
		if strings.HasPrefix(key, "spiffe.") {
			domains = append(domains, sightings[0].TrustDomain)
		}
	}
	if diff := cmp.Diff([]string{"own.test"}, domains); diff != "" {
		t.Errorf("authorities in the ConfigMaps (-want +got):\n%s", diff)
	}
}
