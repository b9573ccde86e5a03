// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/url"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

func newKey(t *testing.T, a signing.Algorithm) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch a {
	case signing.AlgorithmEd25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case signing.AlgorithmRSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority is a certificate authority that issues certificates for steps.
type authority struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newKey(t, signing.AlgorithmECDSAP256)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             verifytest.Start().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{key: key, certificate: create(t, template, template, key.Public(), key)}
}

func create(
	t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer,
) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// leaf returns a certificate for key with the usages of its kind.
func (a authority) leaf(t *testing.T, public crypto.PublicKey, usages ...x509.ExtKeyUsage) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(255), NotBefore: verifytest.Start().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages,
		URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/ns/ci/taskrun/build"}},
	}
	return create(t, template, a.certificate, public, a.key)
}

// keySigned makes the step sign with key under a scheme that has a signature.
func keySigned(
	t *testing.T, step *verifytest.Step, scheme signing.Scheme, key crypto.Signer, chain ...*x509.Certificate,
) {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var unit signing.Unit
	step.Change = func(u *signing.Unit) {
		u.Header.Scheme, u.Header.Algorithm = scheme, signing.AlgorithmOf(key.Public())
		unit = *u
	}
	step.Claims = func(claims map[string]any) {
		claims["aud"] = []string{signing.AudiencePrefix}
		if scheme == signing.SchemeOIDCKeyBound {
			claims["aud"] = []string{signing.KeyAudience(signing.AudiencePrefix, spki)}
		}
	}
	step.Carriers = func(carriers map[string]string) {
		signature, err := unit.Header.Algorithm.Sign(rand.Reader, key, unit.Message())
		if err != nil {
			t.Fatal(err)
		}
		var der []byte
		for _, c := range chain {
			der = append(der, c.Raw...)
		}
		carriers[signing.CarrierManifestSignature] = base64.RawURLEncoding.EncodeToString(signature)
		switch scheme {
		case signing.SchemeSPIRE:
			carriers[signing.CarrierSVID] = base64.RawURLEncoding.EncodeToString(der)
			delete(carriers, signing.CarrierToken)
		case signing.SchemeSigstore:
			carriers[signing.CarrierCertificate] = base64.RawURLEncoding.EncodeToString(der)
			delete(carriers, signing.CarrierToken)
		default:
			carriers[signing.CarrierPublicKey] = base64.RawURLEncoding.EncodeToString(spki)
		}
	}
}

// taskRun returns a signed TaskRun of a new cluster; change changes it before it is signed.
func taskRun(t *testing.T, change func(*verifytest.Run)) *v1.TaskRun {
	t.Helper()
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	return taskRunOf(t, cluster, change)
}

func taskRunOf(t *testing.T, cluster *verifytest.Cluster, change func(*verifytest.Run)) *v1.TaskRun {
	t.Helper()
	run := verifytest.NewRun()
	if change != nil {
		change(run)
	}
	tr, err := run.TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
