// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Authority is a certificate that signs SVIDs of a trust domain.
type Authority struct {
	Certificate *x509.Certificate
	// NotBefore and NotAfter are the window in which it was seen in use; zero times are unknown.
	NotBefore, NotAfter time.Time
}

// Fingerprint returns the hex SHA-256 of the certificate.
func (a Authority) Fingerprint() string {
	sum := sha256.Sum256(a.Certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// Authorities are the present and past authorities of one trust domain. They are immutable and safe for
// concurrent use.
type Authorities struct {
	byKey     map[string][]Authority // by the ID of their key
	bySubject map[string][]Authority
}

// NewAuthorities returns a set of authorities.
func NewAuthorities(list []Authority) *Authorities {
	a := &Authorities{byKey: map[string][]Authority{}, bySubject: map[string][]Authority{}}
	for _, authority := range list {
		key, subject := string(authority.Certificate.SubjectKeyId), string(authority.Certificate.RawSubject)
		a.byKey[key] = append(a.byKey[key], authority)
		a.bySubject[subject] = append(a.bySubject[subject], authority)
	}
	return a
}

// candidates returns the authorities that a certificate names as its issuer. All authorities of a trust
// domain have the same name, and there may be hundreds of them, so it uses the ID of the key.
func (a *Authorities) candidates(c *x509.Certificate) []Authority {
	if len(c.AuthorityKeyId) == 0 {
		return a.bySubject[string(c.RawIssuer)]
	}
	return a.byKey[string(c.AuthorityKeyId)]
}

// ErrUnknownAuthority means that an SVID leads to none of the authorities. With the missing authority, it can
// be verified.
var ErrUnknownAuthority = errors.New("no authority of the trust domain has signed it")

// Verify returns the authorities to which the SVID leads at the time at, at least one. The caller decides
// which of them was in use then. Verify judges every certificate at that time. The error wraps
// ErrUnknownAuthority if the chain ends at an unknown authority.
func (s *SVID) Verify(authorities *Authorities, at time.Time) ([]Authority, error) {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	known := map[string]Authority{}
	for i, c := range append([]*x509.Certificate{s.Leaf}, s.Intermediates...) {
		if i > 0 {
			intermediates.AddCert(c)
		}
		for _, authority := range authorities.candidates(c) {
			roots.AddCert(authority.Certificate)
			known[string(authority.Certificate.Raw)] = authority
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("%w: it was issued by %q", ErrUnknownAuthority, s.top().Issuer.String())
	}
	chains, err := s.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, err
	}
	found := make([]Authority, 0, len(chains))
	for _, chain := range chains {
		found = append(found, known[string(chain[len(chain)-1].Raw)])
	}
	return found, nil
}

// top returns the last certificate of the chain in the carrier, whose issuer is the authority.
func (s *SVID) top() *x509.Certificate {
	top := s.Leaf
	for range s.Intermediates {
		for _, c := range s.Intermediates {
			if c != top && string(c.RawSubject) == string(top.RawIssuer) {
				top = c
				break
			}
		}
	}
	return top
}

// IssuerKeyID returns the hex ID of the key of the authority that the chain needs. It is empty if the
// certificates do not name it.
func (s *SVID) IssuerKeyID() string { return hex.EncodeToString(s.top().AuthorityKeyId) }

// CheckUsage returns an error if the leaf may not sign for a workload (X.509-SVID, section 4).
func (s *SVID) CheckUsage() error {
	usage := s.Leaf.KeyUsage
	switch {
	case s.Leaf.IsCA:
		return fmt.Errorf("the certificate is that of an authority")
	case usage&x509.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("the certificate is not for digital signatures")
	case usage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return fmt.Errorf("the certificate may sign certificates or revocation lists")
	}
	return nil
}

// oidSubjectAltName is the subject alternative name extension (RFC 5280, section 4.2.1.6).
var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// uriTag is the tag of a URI among a certificate's general names.
const uriTag = 6

// ID returns the only URI of the leaf exactly as the certificate has it, because Go's own parser changes some
// URIs. It returns an error if there is none, or more than one.
func (s *SVID) ID() (string, error) {
	var uris []string
	for _, extension := range s.Leaf.Extensions {
		if !extension.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &names); err != nil || len(rest) > 0 {
			return "", fmt.Errorf("the certificate's alternative names cannot be read")
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == uriTag {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	if len(uris) != 1 {
		return "", fmt.Errorf("expected one URI, got %d", len(uris))
	}
	return uris[0], nil
}

// TrustDomain returns the trust domain of a SPIFFE ID, or the empty string if id is not one.
func TrustDomain(id string) string {
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "spiffe" {
		return ""
	}
	return u.Host
}

// TaskRunID returns the SPIFFE ID of a TaskRun, as Tekton gives it to SPIRE.
func TaskRunID(trustDomain, namespace, name string) string {
	return "spiffe://" + trustDomain + TaskRunPath(namespace, name)
}

// TaskRunPath returns the path of the SPIFFE ID of a TaskRun.
func TaskRunPath(namespace, name string) string { return "/ns/" + namespace + "/taskrun/" + name }

// ParseTaskRunPath reads what TaskRunPath writes.
func ParseTaskRunPath(path string) (namespace, name string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "ns" || parts[3] != "taskrun" {
		return "", "", false
	}
	return parts[2], parts[4], true
}

// The paths of the SPIFFE IDs that may sign the status of TaskRuns. They are fixed: otherwise, every workload
// of the trust domain could sign for a controller. Nobody but an admin of SPIRE assigns them.
const (
	addOnPath        = "/tekton-sign/controller"       // as in the quick start
	addOnAccountPath = "/ns/tekton-sign/sa/controller" // as SPIRE's controller manager names workloads
	tektonPath       = "/tekton/controller"            // as in Tekton's own guide

	tektonAccountPath = "/ns/tekton-pipelines/sa/tekton-pipelines-controller"
)

// AddOnIDs returns the SPIFFE IDs of the add-on in a trust domain.
func AddOnIDs(trustDomain string) []string {
	return []string{"spiffe://" + trustDomain + addOnPath, "spiffe://" + trustDomain + addOnAccountPath}
}

// TektonIDs returns the SPIFFE IDs of Tekton's controller in a trust domain.
func TektonIDs(trustDomain string) []string {
	return []string{"spiffe://" + trustDomain + tektonPath, "spiffe://" + trustDomain + tektonAccountPath}
}
