// SPDX-License-Identifier: Apache-2.0

package spiretest

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tektoncd/pipeline/pkg/spire"
	tektontest "github.com/tektoncd/pipeline/pkg/spire/test"
)

// Federate makes the workload API also serve the bundle of another trust domain, as SPIRE does for a workload
// that federates with it, and returns that domain's authority.
func (d *Domain) Federate(t testing.TB, trustDomain string) *tektontest.CA {
	t.Helper()
	other := tektontest.NewCA(t, spiffeid.RequireTrustDomainFromString(trustDomain))
	d.api.SetX509Bundles(d.CA.X509Bundle(), other.X509Bundle())
	return other
}

// Controller returns Tekton's own client for the controller. It uses the identity that the workload API
// serves as the controller's.
func (d *Domain) Controller(t testing.TB) spire.ControllerAPIClient {
	t.Helper()
	client := controllerClient(t.Context())
	if client == nil {
		t.Fatal("Tekton registers no client of SPIRE")
	}
	client.SetConfig(d.config)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
