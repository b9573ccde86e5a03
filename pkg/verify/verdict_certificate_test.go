// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
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

// leaf changes the template of the first step's certificate.
func leaf(change func(*x509.Certificate)) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Steps[0].SVID = change }
}

// uris replaces the URIs of the first step's certificate.
func uris(list ...string) func(*verifytest.Run) {
	return leaf(func(c *x509.Certificate) {
		c.URIs = nil
		for _, text := range list {
			u, err := url.Parse(text)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	})
}

// issuedBy lets ca issue the certificates of all steps.
func issuedBy(ca *verifytest.CA) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		for i := range r.Steps {
			r.Steps[i].Issuer = ca
		}
	}
}

func newCA(t testing.TB, trustDomain string) *verifytest.CA {
	t.Helper()
	ca, err := verifytest.NewCA(trustDomain)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func intermediate(t testing.TB, ca *verifytest.CA) *verifytest.CA {
	t.Helper()
	below, err := ca.Intermediate()
	if err != nil {
		t.Fatal(err)
	}
	return below
}

// signedLater moves the time in the first step's header.
func signedLater(by time.Duration) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		r.Steps[0].Change = func(u *signing.Unit) { u.Header.SignedAt = u.Header.SignedAt.Add(by) }
	}
}

func TestCertificates(t *testing.T) {
	const id = "spiffe://ci.example/ns/ci/taskrun/build"
	spiffe := signedAs(v2Format, bySPIRE)
	failed := func(sign func(*verifytest.Run), checks ...string) verdictCase {
		return verdictCase{sign: all(spiffe, sign), want: verify.Failed, checks: checks}
	}
	usage := func(u x509.KeyUsage) func(*verifytest.Run) {
		return leaf(func(c *x509.Certificate) { c.KeyUsage = u })
	}
	valid := func(from, to time.Duration) func(*verifytest.Run) {
		return leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = verifytest.Start().Add(from), verifytest.Start().Add(to)
		})
	}
	impostor := newCA(t, verifytest.TrustDomain) // another authority with the name of the cluster's own domain
	federated := theCluster().Federated[0]
	mint := *federated
	mint.TrustDomain = verifytest.TrustDomain // a federated authority that issues our SPIFFE IDs
	long := theCluster().CA
	for range 10 {
		long = intermediate(t, long)
	}
	cases := map[string]verdictCase{
		"untouched": {sign: spiffe, want: verify.Verified},
		"intermediates": {
			sign: all(spiffe, issuedBy(intermediate(t, intermediate(t, theCluster().CA)))), want: verify.Verified,
		},
		"too many certificates": failed(issuedBy(long), "certificate"),
		"a DNS name beside it": {
			sign: all(spiffe, leaf(func(c *x509.Certificate) { c.DNSNames = []string{"build"} })), want: verify.Verified,
		},
		"no URI":                failed(uris(), "subject"),
		"two URIs":              failed(uris(id, id), "subject"),
		"another TaskRun":       failed(uris("spiffe://ci.example/ns/ci/taskrun/other"), "subject"),
		"another namespace":     failed(uris("spiffe://ci.example/ns/prod/taskrun/build"), "subject"),
		"longer path":           failed(uris(id+"/x"), "subject"),
		"slash at the end":      failed(uris(id+"/"), "subject"),
		"escaped path":          failed(uris("spiffe://ci.example/ns/ci/taskrun/%62uild"), "subject"),
		"query":                 failed(uris(id+"?x"), "subject"),
		"the authority's own":   failed(uris("spiffe://ci.example"), "subject"),
		"https":                 failed(uris("https://ci.example/ns/ci/taskrun/build"), "trust-domain"),
		"another trust domain":  failed(uris("spiffe://evil.example/ns/ci/taskrun/build"), "trust-domain"),
		"domain with a port":    failed(uris("spiffe://ci.example:1/ns/ci/taskrun/build"), "trust-domain"),
		"upper-case domain":     failed(uris("spiffe://CI.example/ns/ci/taskrun/build"), "trust-domain"),
		"not for signing":       failed(usage(x509.KeyUsageKeyEncipherment), "certificate"),
		"may sign certificates": failed(usage(x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign), "certificate"),
		"may sign revocations":  failed(usage(x509.KeyUsageDigitalSignature|x509.KeyUsageCRLSign), "certificate"),
		"an authority": failed(leaf(func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign
		}), "certificate"),
		"unknown critical extension": failed(leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, criticalExtension())
		}), "certificate"),
		"older than the TaskRun":    failed(valid(-61*time.Second, time.Hour), "time"),
		"a minute older":            {sign: all(spiffe, valid(-60*time.Second, time.Hour)), want: verify.Verified},
		"not yet valid":             failed(valid(31*time.Second, time.Hour), "time"),
		"expired when it signed":    failed(valid(0, 29*time.Second), "time"),
		"signed after the run":      failed(signedLater(331*time.Second), "time"),
		"signed before the run":     failed(signedLater(-91*time.Second), "time"),
		"signed within the skew":    {sign: all(spiffe, signedLater(60*time.Second)), want: verify.Verified},
		"of a federated domain":     failed(issuedBy(federated), "trust-domain"),
		"minted by a federated one": failed(issuedBy(&mint), "trust-domain"),
		"unknown authority": {
			sign: all(spiffe, issuedBy(impostor)), want: verify.Indeterminate, checks: []string{"certificate"},
		},
		"unknown authority, tampered": {
			sign: all(spiffe, issuedBy(impostor)), tamper: inDigest(to("sha256:1")),
			want: verify.Failed, checks: []string{"payload", "results IMAGE_DIGEST"},
		},
		"high S": failed(inCarrier(signing.CarrierManifestSignature, highS), "signature"),
		"no base64url": failed(inCarrier(signing.CarrierSVID, func(s string) string { return s + "=" }),
			"certificate"),
		"no certificate": failed(inCarrier(signing.CarrierSVID, to("AAAA")), "certificate"),
		"empty":          failed(inCarrier(signing.CarrierSVID, to("")), "certificate"),
		"cut off": failed(inCarrier(signing.CarrierSVID, func(s string) string { return s[:len(s)-4] }),
			"certificate"),
		"trailing data": failed(inCarrier(signing.CarrierSVID,
			func(s string) string { return s[:len(s)-len(s)%4] + "AAAA" }), "certificate"),
		"the key of another": failed(func(r *verifytest.Run) { r.Steps[0].Carriers = otherLeaf(t) }, "payload"),
		"another value": {
			sign: spiffe, tamper: inDigest(to("sha256:1")), want: verify.Failed,
			checks: []string{"payload", "results IMAGE_DIGEST"},
		},
		"weak key":            failed(func(r *verifytest.Run) { r.Steps[0].Carriers = weakLeaf(t) }, "certificate"),
		"algorithm of others": failed(inCarrier(signing.CarrierManifest, algorithm(3)), "signature"),
		"created later": {sign: spiffe, want: verify.Failed, checks: []string{"time"}, tamper: func(tr *v1.TaskRun) {
			tr.CreationTimestamp = metav1.NewTime(verifytest.Start().Add(56 * time.Second))
		}},
	}
	runVerdictCases(t, cases)
}

// otherLeaf replaces the certificate by one with the same name for another key.
func otherLeaf(t *testing.T) func(map[string]string) {
	return func(c map[string]string) {
		run := verifytest.NewRun()
		run.Scheme = bySPIRE
		tr, err := run.TaskRun(theCluster())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range tr.Status.Results {
			if r.Name == signing.CarrierSVID {
				c[signing.CarrierSVID] = r.Value.StringVal
			}
		}
	}
}

// weakLeaf replaces the certificate by one for a P-521 key, which is not allowed.
func weakLeaf(t *testing.T) func(map[string]string) {
	return func(c map[string]string) {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := theCluster().CA.SVID("ci", "build", key.Public(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c[signing.CarrierSVID] = verifytest.ChainCarrier(chain)
	}
}

// changed returns a verifier of the cluster with a changed trust bundle.
func changed(t *testing.T, change func(*trust.Cluster)) *verify.Verifier {
	t.Helper()
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	change(cluster)
	years := verify.WithClock(func() time.Time { return verifytest.Start().AddDate(3, 0, 0) })
	v, err := verify.New(cluster, years, verify.WithUnrecorded())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAuthorities(t *testing.T) {
	stamp := func(after time.Duration) trust.Timestamp { return trust.Timestamp{Time: verifytest.Start().Add(after)} }
	own := func(c *trust.Cluster) *trust.X509Authority { return &c.Domains[0].X509Authorities[0] }
	others := func(c *trust.Cluster) { // authorities of the same name, as a rotation leaves them behind
		for range 300 {
			c.Domains[0].X509Authorities = append(c.Domains[0].X509Authorities,
				verifytest.Authority(newCA(t, verifytest.TrustDomain).Certificate))
		}
		slices.Reverse(c.Domains[0].X509Authorities)
	}
	for name, c := range map[string]struct {
		change func(*trust.Cluster)
		want   verdictCase
	}{
		"years later": {func(*trust.Cluster) {}, verdictCase{want: verify.Verified}},
		"among many":  {others, verdictCase{want: verify.Verified}},
		"in use":      {func(c *trust.Cluster) { own(c).NotBefore = stamp(-time.Hour) }, verdictCase{want: verify.Verified}},
		"seen later":  {func(c *trust.Cluster) { own(c).NotBefore = stamp(time.Hour) }, verdictCase{want: verify.Verified}},
		"just retired": {
			func(c *trust.Cluster) { own(c).NotAfter = stamp(-59 * time.Minute) }, verdictCase{want: verify.Verified},
		},
		"retired": {
			func(c *trust.Cluster) {
				own(c).NotAfter = stamp(-61 * time.Minute)
			}, verdictCase{want: verify.Failed, checks: []string{"certificate"}},
		},
		"no SPIFFE": {
			func(c *trust.Cluster) { c.Domains = nil }, verdictCase{want: verify.Indeterminate, checks: []string{"certificate"}},
		},
		"marked federated": {
			func(c *trust.Cluster) {
				c.Domains[0].Federated = true
			}, verdictCase{want: verify.Failed, checks: []string{"trust-domain"}},
		},
		"no trust domain": {
			func(c *trust.Cluster) {
				c.TrustDomain = ""
			}, verdictCase{want: verify.Indeterminate, checks: []string{"trust-domain"}},
		},
		"another trust domain": {
			func(c *trust.Cluster) {
				c.TrustDomain = "partner.example"
			}, verdictCase{want: verify.Failed, checks: []string{"trust-domain"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := changed(t, c.change)
			for _, format := range signing.Formats() {
				tr := newTaskRun(t, signedAs(format, bySPIRE))
				got := v.TaskRun(t.Context(), tr, verify.Facts{Live: true})
				compareVerdict(t, c.want, got)
				if missing := c.want.want == verify.Indeterminate; missing != (got.MissingKey != "") {
					t.Errorf("missing key %q", got.MissingKey)
				}
			}
		})
	}
}

// The verifier stops at a chain whose certificates could all have signed each other.
func TestHostileChains(t *testing.T) {
	ca := theCluster().CA
	for range 9 {
		ca = intermediate(t, ca)
	}
	tr := newTaskRun(t, func(r *verifytest.Run) {
		signedAs(v2Format, bySPIRE)(r)
		step := r.Steps[0]
		step.Issuer = ca
		r.Steps = nil
		for range 200 {
			r.Steps = append(r.Steps, step)
		}
	})
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	if got.Verdict == verify.Verified {
		t.Error("it is verified")
	}
	if !slices.ContainsFunc(got.Checks, func(c verify.Check) bool {
		return strings.Contains(c.Message, "too many certificates")
	}) {
		t.Error("nothing says that there are too many certificates")
	}
}

// criticalExtension is an extension that no verifier knows.
func criticalExtension() pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}, Critical: true, Value: []byte{5, 0}}
}
