// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package lab

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// TestNightlySPIRE runs each configuration of SPIRE in turn.
func TestNightlySPIRE(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	l, err := Open(Options{Name: "spiretest", Progress: t.Output()})
	must(t, err)
	t.Cleanup(func() { must(t, l.Down(context.Background())) })
	must(t, l.Up(ctx))
	makeRestricted(ctx, t, l)
	for config, check := range map[string]func(context.Context, *testing.T, *Lab, *spire.Deployment){
		spire.Plain:     checkManager,
		spire.Upstream:  checkIntermediates,
		spire.Federated: checkFederation,
		spire.Short:     checkShort,
	} {
		t.Run(config, func(t *testing.T) {
			options := SPIREOptions{Config: config, ControllerManager: config == spire.Plain}
			if config == spire.Upstream {
				options.KeyType = "rsa-2048"
			}
			d, err := l.AddSPIRE(ctx, options)
			must(t, err)
			check(ctx, t, l, d)
			checkSPIREGone(ctx, t, l)
		})
	}
}

// checkManager has spire-controller-manager make the entry, and leave those of others alone.
func checkManager(ctx context.Context, t *testing.T, l *Lab, d *spire.Deployment) {
	t.Helper()
	id := `{"apiVersion":"spire.spiffe.io/v1alpha1","kind":"ClusterSPIFFEID","metadata":{"name":"test"},"spec":{
		"spiffeIDTemplate":"spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/managed",
		"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"` + restricted + `"}}}}`
	must(t, poll(ctx, "the webhook of the controller manager", func(ctx context.Context) error {
		_, err := l.kubectl(ctx, id, "apply", "--filename=-")
		return err
	}))
	checkSVID(ctx, t, d, spiffeid.RequireFromPath(spire.TrustDomain(), "/ns/"+restricted+"/managed"), 1)
	_, err := l.kubectl(ctx, "", "delete", "clusterspiffeid", "test")
	must(t, err)
	time.Sleep(15 * time.Second) // more than the interval of its garbage pass
	checkEntries(ctx, t, d)
}

// checkIntermediates wants SPIRE's own authority and the one above it in the chain, and the root in the bundle.
func checkIntermediates(ctx context.Context, t *testing.T, l *Lab, d *spire.Deployment) {
	t.Helper()
	entry := podEntry()
	_, err := d.Server.CreateEntry(ctx, entry)
	must(t, err)
	checkSVID(ctx, t, d, entry.SPIFFEID, 3)
	fetched, err := d.Fetch(ctx, restricted, "default")
	must(t, err)
	if _, ok := fetched.Chain[0].PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("key of the SVID: expected RSA, got %T", fetched.Chain[0].PublicKey)
	}
	authority, err := l.upstreamAuthority()
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Root)
	if _, err := fetched.Bundle[0].Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		t.Errorf("bundle: expected the root of the lab, got %v", err)
	}
}

// checkFederation has each server know the other's bundle, and neither verify the other's SVIDs with its own.
func checkFederation(ctx context.Context, t *testing.T, _ *Lab, d *spire.Deployment) {
	t.Helper()
	other := map[*spire.Server]*spire.Server{d.Server: d.Foreign, d.Foreign: d.Server}
	for server := range other {
		svid, err := server.Mint(ctx, spiffeid.RequireFromPath(server.TrustDomain, "/ns/a/taskrun/b"), time.Hour)
		must(t, err)
		for _, verifier := range []*spire.Server{d.Server, d.Foreign} {
			bundle, err := verifier.FederatedBundle(ctx, server.TrustDomain)
			must(t, err)
			if _, _, err := x509svid.Verify(svid.Certificates, bundle); err != nil {
				t.Errorf("SVID of %s by the bundle that %s has: expected no error, got %v", svid.ID, verifier.TrustDomain, err)
			}
		}
		own, err := other[server].Bundle(ctx)
		must(t, err)
		if _, _, err := x509svid.Verify(svid.Certificates, own); err == nil {
			t.Errorf("SVID of %s by the other's own bundle: expected an error, got none", svid.ID)
		}
	}
}

// checkShort waits for two new authorities, and for an SVID of the second.
func checkShort(ctx context.Context, t *testing.T, _ *Lab, d *spire.Deployment) {
	t.Helper()
	entry := podEntry()
	entry.TTL = 0
	_, err := d.Server.CreateEntry(ctx, entry)
	must(t, err)
	fetched, err := d.Fetch(ctx, restricted, "default")
	must(t, err)
	first := fetched.Chain[0]
	if lifetime := first.NotAfter.Sub(first.NotBefore); lifetime > time.Minute {
		t.Errorf("lifetime of the SVID: expected %s, got %v", spire.SVIDTTL, lifetime)
	}
	signers := map[string]bool{}
	deadline := time.Now().Add(8 * time.Minute)
	for ; len(signers) < 3 && time.Now().Before(deadline); time.Sleep(10 * time.Second) {
		fetched, err := d.Fetch(ctx, restricted, "default")
		must(t, err)
		bundle, err := d.Server.Bundle(ctx)
		must(t, err)
		if id, err := fetched.ID(bundle); err != nil || id != entry.SPIFFEID {
			t.Errorf("SVID: expected %s, which verifies, got %s, %v", entry.SPIFFEID, id, err)
		}
		signers[string(fetched.Chain[0].AuthorityKeyId)] = true
	}
	if len(signers) < 3 {
		t.Errorf("authorities within 8 minutes: expected 3, got %d", len(signers))
	}
}
