// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	signingspire "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// replaceSPIRE runs SPIRE with another configuration until the test ends.
func replaceSPIRE(t *testing.T, options testlab.SPIREOptions) *spireSuite {
	t.Helper()
	removeSPIRELater(t)
	s := newSPIRESuite(t, spiretest.Replace(t, options))
	s.enableSPIRE(t)
	return s
}

// signedFile runs a TaskRun and returns it and its file. It has one step, whose message has room for a long chain.
func (s *spireSuite) signedFile(t *testing.T, ns string) (tr *pipelinev1.TaskRun, file string) {
	t.Helper()
	tr = emitting("", "x", "", 1)
	tr.GenerateName = "signed-"
	tr = s.finish(t, ns, tr)
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	s.recorded(t, tr)
	file = filepath.Join(t.TempDir(), "taskrun.yaml")
	writeFile(t, file, s.mustKubectl(t, "get", "taskrun", tr.Name, "-n", ns, "-o", "yaml"))
	return tr, file
}

func (s *spireSuite) exportTrust(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "bundle.json")
	writeFile(t, file, s.mustKubectl(t, "tekton-sign", "trust", "export"))
	return file
}

// TestNightlySPIRERotation verifies a TaskRun after two rotations of SPIRE's authority, live and offline.
func TestNightlySPIRERotation(t *testing.T) {
	s := replaceSPIRE(t, testlab.SPIREOptions{Config: spire.Short})
	ns := s.scope(t, false)
	tr, file := s.signedFile(t, ns)
	before := s.exportTrust(t)
	s.awaitRotations(t, 2)
	s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
	s.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", s.exportTrust(t))
	s.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", before)
	later, file := s.signedFile(t, ns)
	s.verify(t, "VERIFIED", 0, "taskrun/"+later.Name, "-n", ns)
	s.verify(t, "INDETERMINATE", 2, "-f", file, "--trust-bundle", before)
	s.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", s.exportTrust(t))
}

// awaitRotations waits until the server has so many authorities that it did not have before, and issues by the last of
// them.
func (s *spireSuite) awaitRotations(t *testing.T, n int) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range s.Bundle(t).X509Authorities() {
		seen[string(c.Raw)] = true
	}
	begin := len(seen)
	issuer := func() string {
		return string(spiretest.Mint(t, s.Server, s.ID("/probe"), time.Minute).Certificates[0].AuthorityKeyId)
	}
	first := issuer()
	for end := time.Now().Add(12 * time.Minute); ; time.Sleep(5 * time.Second) {
		var last []byte
		for _, c := range s.Bundle(t).X509Authorities() {
			seen[string(c.Raw)] = true
			last = c.SubjectKeyId
		}
		if now := issuer(); len(seen) >= begin+n && now == string(last) && now != first {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("expected %d new authorities, got %d", n, len(seen)-begin)
		}
	}
}

// TestNightlySPIREUpstream signs with RSA below an authority of the organization: SVIDs have intermediate certificates.
func TestNightlySPIREUpstream(t *testing.T) {
	s := replaceSPIRE(t, testlab.SPIREOptions{Config: spire.Upstream, KeyType: "rsa-2048"})
	ns := s.scope(t, false)
	tr, file := s.signedFile(t, ns)
	s.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", s.exportTrust(t))
	svid := s.svidOf(t, tr)
	if svid.Leaf.PublicKeyAlgorithm != x509.RSA || len(svid.Intermediates) != 2 {
		t.Errorf("expected an RSA key below two intermediate certificates, got %s and %d",
			svid.Leaf.PublicKeyAlgorithm, len(svid.Intermediates))
	}
	s.logEvidence(t, tr)
}

// TestNightlySPIREEvidence measures the evidence of each kind of key.
func TestNightlySPIREEvidence(t *testing.T) {
	for _, options := range []testlab.SPIREOptions{
		{}, {KeyType: "rsa-2048"}, {Config: spire.Upstream}, {Config: spire.Upstream, KeyType: "rsa-2048"},
	} {
		t.Run(options.Config+" "+options.KeyType, func(t *testing.T) {
			s := replaceSPIRE(t, options)
			tr, _ := s.signedFile(t, s.scope(t, false))
			s.logEvidence(t, tr)
		})
	}
}

// carriers returns the signing material in the message of a TaskRun's first step.
func (s *spireSuite) carriers(t *testing.T, tr *pipelinev1.TaskRun) map[string]string {
	t.Helper()
	var entries []struct{ Key, Value string }
	must(t, json.Unmarshal([]byte(tr.Status.Steps[0].Terminated.Message), &entries))
	found := map[string]string{}
	for _, e := range entries {
		if signing.IsReserved(e.Key) {
			found[e.Key] = e.Value
		}
	}
	return found
}

func (s *spireSuite) svidOf(t *testing.T, tr *pipelinev1.TaskRun) *signingspire.SVID {
	t.Helper()
	svid, err := signingspire.ParseChain(s.carriers(t, tr)[signing.CarrierSVID])
	must(t, err)
	return svid
}

// logEvidence logs how many bytes the signing material of a step takes in its message.
func (s *spireSuite) logEvidence(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	total := 0
	for key, value := range s.carriers(t, tr) {
		n := len(`{"key":"","value":"","type":1},`) + len(key) + len(value)
		total += n
		t.Logf("%s: %d bytes", key, n)
	}
	svid := s.svidOf(t, tr)
	t.Logf("%s with %d intermediate certificates: %d bytes", svid.Leaf.PublicKeyAlgorithm, len(svid.Intermediates), total)
}

// TestNightlySPIREFederated refuses what a federated trust domain issues, for a path of a TaskRun or for its whole ID.
func TestNightlySPIREFederated(t *testing.T) {
	s := replaceSPIRE(t, testlab.SPIREOptions{Config: spire.Federated})
	ns := s.scope(t, false)
	tr, file := s.signedFile(t, ns)
	bundle := s.exportTrust(t)
	s.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", bundle)

	id := spiffeid.RequireFromPath(s.Foreign.TrustDomain, "/ns/"+ns+"/taskrun/"+tr.Name)
	foreign := spiretest.Mint(t, s.Foreign, id, time.Hour)
	s.wantForeign(t, tr, bundle, foreign.Certificates)

	authority, leaf := foreignCertificates(t, s.ID(id.Path()))
	s.wantForeign(t, tr, federate(t, bundle, authority), []*x509.Certificate{leaf})
}

// wantForeign puts another chain into the evidence, and wants it to be refused for its trust domain.
func (s *spireSuite) wantForeign(t *testing.T, tr *pipelinev1.TaskRun, bundle string, chain []*x509.Certificate) {
	t.Helper()
	bad := tr.DeepCopy()
	bad.APIVersion, bad.Kind = "tekton.dev/v1", "TaskRun"
	message := &bad.Status.Steps[0].Terminated.Message
	*message = strings.Replace(*message, s.carriers(t, tr)[signing.CarrierSVID], signingspire.FormatChain(chain), 1)
	file := filepath.Join(t.TempDir(), "forged.yaml")
	writeFile(t, file, describe(bad))
	r := s.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle)
	if !slices.Contains(r.failedChecks(), "trust-domain") {
		t.Errorf("expected the trust domain to be refused, got %+v", r.Items[0].Checks)
	}
}

// foreignCertificates returns an authority and a certificate that it issued for an ID that is not its to give.
func foreignCertificates(t *testing.T, id spiffeid.ID) (authority, leaf *x509.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
		template.SerialNumber = big.NewInt(time.Now().UnixNano())
		template.NotBefore, template.NotAfter = time.Now().Add(-20*time.Second), time.Now().Add(time.Hour)
		template.BasicConstraintsValid = true
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
		must(t, err)
		c, err := x509.ParseCertificate(der)
		must(t, err)
		return c
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"SPIFFE"}}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{{Scheme: "spiffe", Host: "foreign.test"}},
	}
	authority = issue(ca, ca, key, key)
	template := &x509.Certificate{URIs: []*url.URL{id.URL()}, KeyUsage: x509.KeyUsageDigitalSignature}
	leaf = issue(template, authority, key, key)
	return authority, leaf
}

// federate adds an authority of the federated trust domain to a trust bundle.
func federate(t *testing.T, bundle string, authority *x509.Certificate) (file string) {
	t.Helper()
	raw, err := os.ReadFile(bundle)
	must(t, err)
	parsed, err := trust.Parse(raw)
	must(t, err)
	parsed.Clusters[0].Domains = append(parsed.Clusters[0].Domains, trust.Domain{
		TrustDomain: "foreign.test", Federated: true,
		X509Authorities: []trust.X509Authority{{DER: base64.StdEncoding.EncodeToString(authority.Raw)}},
	})
	data, err := json.Marshal(parsed)
	must(t, err)
	file = filepath.Join(t.TempDir(), "federated.json")
	writeFile(t, file, string(data))
	return file
}
