// SPDX-License-Identifier: Apache-2.0

// Package spiretest lets tests call the code with which Tekton itself signs and verifies results (pkg/spire
// of Tekton Pipelines), against a workload API that it serves on a socket of its own. Only tests may import
// it.
package spiretest

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/spire"
	"github.com/tektoncd/pipeline/pkg/spire/config"
	tektontest "github.com/tektoncd/pipeline/pkg/spire/test"
	"github.com/tektoncd/pipeline/pkg/spire/test/fakeworkloadapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"knative.dev/pkg/injection"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TrustDomain is the trust domain of every Domain.
const TrustDomain = "example.org"

// Domain is a SPIFFE trust domain with a workload API, and Tekton's two clients of it.
type Domain struct {
	CA *tektontest.CA

	api    *fakeworkloadapi.WorkloadAPI
	config config.SpireConfig
}

// New serves a trust domain until the test ends.
func New(t testing.TB) *Domain {
	t.Helper()
	d := &Domain{CA: tektontest.NewCA(t, spiffeid.RequireTrustDomainFromString(TrustDomain)), api: fakeworkloadapi.New(t)}
	t.Cleanup(d.api.Stop)
	d.api.SetX509Bundles(d.CA.X509Bundle())
	d.config = config.SpireConfig{
		SocketPath: d.api.Addr(), TrustDomain: TrustDomain,
		ServerAddr: "127.0.0.1:1", // signing and verifying never call SPIRE's server
	}
	return d
}

// ID returns the SPIFFE ID that Tekton gives a TaskRun.
func ID(namespace, taskRun string) spiffeid.ID {
	return spiffeid.RequireFromPath(spiffeid.RequireTrustDomainFromString(TrustDomain),
		fmt.Sprintf("/ns/%s/taskrun/%s", namespace, taskRun))
}

// Serve makes the workload API serve the identity id to every caller, and returns it with its key.
func (d *Domain) Serve(id spiffeid.ID) *x509svid.SVID {
	svid := d.CA.CreateX509SVID(id)
	d.api.SetX509SVIDResponse(&fakeworkloadapi.X509SVIDResponse{Bundle: d.CA.X509Bundle(), SVIDs: []*x509svid.SVID{svid}})
	return svid
}

// ServeSVID makes the workload API serve the first certificate of chain to every caller, with any issuer.
func (d *Domain) ServeSVID(t testing.TB, chain []*x509.Certificate, key crypto.Signer) {
	t.Helper()
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	d.api.SetX509SVIDResponse(&fakeworkloadapi.X509SVIDResponse{
		Bundle: d.CA.X509Bundle(), SVIDs: []*x509svid.SVID{{ID: id, Certificates: chain, PrivateKey: key}},
	})
}

// ServeBundles makes the workload API serve these authorities to every caller, by trust domain.
func (d *Domain) ServeBundles(t testing.TB, authorities map[string]*x509.Certificate) {
	t.Helper()
	var bundles []*x509bundle.Bundle
	for name, certificate := range authorities {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			t.Fatal(err)
		}
		bundles = append(bundles, x509bundle.FromX509Authorities(domain, []*x509.Certificate{certificate}))
	}
	d.api.SetX509Bundles(bundles...)
}

// Key returns the key of an SVID, and the carrier with which Tekton publishes the certificate.
func Key(svid *x509svid.SVID) (crypto.Signer, result.RunResult) {
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: svid.Certificates[0].Raw})
	return svid.PrivateKey, result.RunResult{
		Key: signing.CarrierSVID, Value: string(certificate), ResultType: result.TaskRunResultType,
	}
}

// Sign signs results with Tekton's own code and the identity that the workload API serves, and returns what
// that code adds.
func (d *Domain) Sign(t testing.TB, results []result.RunResult) []result.RunResult {
	t.Helper()
	client := spire.NewEntrypointerAPIClient(&d.config)
	defer client.Close()
	carriers, err := client.Sign(t.Context(), results)
	if err != nil {
		t.Fatalf("Tekton does not sign: %v", err)
	}
	return carriers
}

// Verify verifies results and their signatures with Tekton's own code, as those of a TaskRun.
func (d *Domain) Verify(t testing.TB, namespace, taskRun string, results []result.RunResult) error {
	t.Helper()
	client := controllerClient(t.Context())
	if client == nil {
		t.Fatal("Tekton registers no client of SPIRE")
	}
	d.Serve(spiffeid.RequireFromPath(spiffeid.RequireTrustDomainFromString(TrustDomain), "/tekton/controller"))
	client.SetConfig(d.config)
	defer client.Close()
	return client.VerifyTaskRunResults(t.Context(), results,
		&v1beta1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: taskRun}})
}

// controllerClient returns the client of Tekton's controller, which is available only from its dependency
// injection.
func controllerClient(ctx context.Context) spire.ControllerAPIClient {
	for _, inject := range injection.Default.GetClients() {
		ctx = inject(ctx, &rest.Config{})
	}
	return spire.GetControllerAPIClient(ctx)
}
