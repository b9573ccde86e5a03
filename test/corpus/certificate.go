// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"crypto/x509"
	"net/url"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// svid changes the certificate, which is the same for all steps.
func svid(change func(*x509.Certificate)) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		for i := range r.Steps {
			r.Steps[i].SVID = change
		}
	}
}

// issuedBy lets another authority issue the certificate of all steps.
func issuedBy(trustDomain string) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		ca, err := verifytest.NewCA(trustDomain)
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		for i := range r.Steps {
			r.Steps[i].Issuer = ca
		}
	}
}

// certificateAttacks returns X.509-SVIDs that do not identify the TaskRun, or did not when it ran.
func certificateAttacks() []attack {
	certificate, subject := failed(verify.CheckCertificate), failed(verify.CheckSubject)
	domain, at := failed(verify.CheckTrustDomain), failed(verify.CheckTime)
	id := func(text string) func(*x509.Certificate) {
		u, err := url.Parse(text)
		if err != nil {
			panic(err) // the URL is constant
		}
		return func(c *x509.Certificate) { c.URIs = []*url.URL{u} }
	}
	valid := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = verifytest.Start().Add(from), verifytest.Start().Add(to)
		}
	}
	own := "spiffe://" + verifytest.TrustDomain
	return []attack{
		{name: "SVID of another TaskRun", want: subject, sign: svid(id(own + "/ns/ci/taskrun/other"))},
		{name: "SVID of another namespace", want: subject, sign: svid(id(own + "/ns/prod/taskrun/build"))},
		{name: "SVID of no TaskRun", want: subject, sign: svid(id(own + "/ns/ci/sa/builder"))},
		{name: "SVID of a longer path", want: subject, sign: svid(id(own + "/ns/ci/taskrun/build/x"))},
		{name: "SVID with a query", want: subject, sign: svid(id(own + "/ns/ci/taskrun/build?x=1"))},
		{name: "SVID with a port", want: domain, sign: svid(id(own + ":443/ns/ci/taskrun/build"))},
		{
			name: "SVID with a user", want: subject,
			sign: svid(id("spiffe://x@" + verifytest.TrustDomain + "/ns/ci/taskrun/build")),
		},
		{
			name: "SVID of another scheme", want: domain,
			sign: svid(id("https://" + verifytest.TrustDomain + "/ns/ci/taskrun/build")),
		},
		{name: "SVID with an encoded path", want: subject, sign: svid(id(own + "/ns/ci/taskrun/%62uild"))},
		{
			name: "SVID with two names", want: subject,
			sign: svid(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }),
		},
		{name: "SVID without a name", want: subject, sign: svid(func(c *x509.Certificate) { c.URIs = nil })},
		{
			name: "SVID of another trust domain's name", want: domain,
			sign: svid(id("spiffe://other.example/ns/ci/taskrun/build")),
		},
		{name: "SVID of another trust domain", want: domain, sign: issuedBy("other.example")},
		{
			name: "SVID of another authority of our name", want: missing(verify.CheckCertificate),
			sign: issuedBy(verifytest.TrustDomain),
		},
		{name: "SVID that is an authority", want: certificate, sign: svid(func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign
		})},
		{
			name: "SVID not for signatures", want: certificate,
			sign: svid(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
		},
		{name: "SVID expired when it signed", want: at, sign: svid(valid(-30*time.Second, 10*time.Second))},
		{name: "SVID not valid yet when it signed", want: at, sign: svid(valid(40*time.Second, time.Hour))},
		{name: "SVID from before the TaskRun", want: at, sign: svid(valid(-10*time.Minute, time.Hour))},
		{name: "SVID expired since", want: verified(), sign: svid(valid(-10*time.Second, time.Minute))},
	}
}
