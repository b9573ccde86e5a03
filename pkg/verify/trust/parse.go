// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Caps of a trust bundle.
const (
	MaxBytes     = 8 << 20 // of the file
	maxClusters  = 1024
	maxIssuers   = 64      // of one cluster
	maxDomains   = 1024    // of one cluster
	maxRecorders = 1024    // of one cluster
	maxKeys      = 1 << 15 // of one issuer or trust domain: more than a full history holds
)

// Parse reads a trust bundle file (JSON). It refuses unknown fields, duplicate keys, private keys, and one
// key ID with two keys in one cluster.
func Parse(data []byte) (*Bundle, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("expected a trust bundle of at most %d bytes, got %d", MaxBytes, len(data))
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("the text is UTF-16: save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("the trust bundle is empty: write one with trust export")
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := strictjson.DecodeOpen(data, &head); err != nil {
		return nil, fmt.Errorf("expected a trust bundle in JSON: %w", err)
	}
	if head.APIVersion != APIVersion || head.Kind != Kind {
		return nil, fmt.Errorf("expected apiVersion %q and kind %q, got %q and %q", APIVersion, Kind, head.APIVersion,
			head.Kind)
	}
	if err := refusePrivateKeys(data); err != nil {
		return nil, err
	}
	var b Bundle
	if err := strictjson.Decode(data, &b); err != nil {
		return nil, fmt.Errorf("reading the trust bundle: %w", err)
	}
	if err := b.validate(); err != nil {
		return nil, err
	}
	return &b, nil
}

// refusePrivateKeys has its own message for private keys, because that mistake must not look like a typing
// error.
func refusePrivateKeys(data []byte) error {
	var b struct {
		Clusters []struct {
			Issuers []struct {
				Keys []struct {
					JWK struct {
						KeyID   string `json:"kid"`
						Private any    `json:"d"`
					} `json:"jwk"`
				} `json:"keys"`
			} `json:"serviceAccountIssuers"`
		} `json:"clusters"`
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return fmt.Errorf("reading the trust bundle: %w", err)
	}
	for _, c := range b.Clusters {
		for _, issuer := range c.Issuers {
			for _, key := range issuer.Keys {
				if key.JWK.Private != nil {
					return fmt.Errorf("key %q of the trust bundle is a private key: replace it in the cluster, "+
						"anyone who read this file can sign with it", key.JWK.KeyID)
				}
			}
		}
	}
	return nil
}

func (b *Bundle) validate() error {
	if len(b.Clusters) > maxClusters {
		return fmt.Errorf("expected at most %d clusters, got %d", maxClusters, len(b.Clusters))
	}
	seen := map[string]bool{}
	for i := range b.Clusters {
		c := &b.Clusters[i]
		if seen[c.UID] {
			return fmt.Errorf("cluster %q occurs twice in the trust bundle", c.UID)
		}
		seen[c.UID] = true
		if err := c.Validate(); err != nil {
			return fmt.Errorf("cluster %s: %w", c, err)
		}
	}
	return nil
}

// Validate returns the first error in a cluster of a trust bundle.
func (c *Cluster) Validate() error {
	if _, err := signing.ParseUID(c.UID); err != nil {
		return fmt.Errorf("uid of the namespace kube-system: %w", err)
	}
	if len(c.ServiceAccountIssuers) > maxIssuers {
		return fmt.Errorf("expected at most %d issuers, got %d", maxIssuers, len(c.ServiceAccountIssuers))
	}
	fingerprints, issuers := map[string]string{}, map[string]bool{}
	for _, issuer := range c.ServiceAccountIssuers {
		if issuers[issuer.Issuer] {
			return fmt.Errorf("issuer %q occurs twice: merge its keys in one place", issuer.Issuer)
		}
		issuers[issuer.Issuer] = true
		if err := issuer.validate(fingerprints); err != nil {
			return fmt.Errorf("issuer %q: %w", issuer.Issuer, err)
		}
	}
	if len(c.Domains) > maxDomains {
		return fmt.Errorf("expected at most %d trust domains, got %d", maxDomains, len(c.Domains))
	}
	if len(c.Recorders) > maxRecorders {
		return fmt.Errorf("expected at most %d recorders, got %d", maxRecorders, len(c.Recorders))
	}
	domains := map[domainID]bool{}
	for _, s := range c.Domains {
		d := s.id()
		if domains[d] {
			return fmt.Errorf("trust domain %q occurs twice: merge its authorities in one place", s.TrustDomain)
		}
		domains[d] = true
		if err := s.validate(); err != nil {
			return fmt.Errorf("trust domain %q: %w", s.TrustDomain, err)
		}
	}
	return nil
}

// validate checks the keys of an issuer. fingerprints maps the key IDs of the cluster that were seen so far
// to their keys.
func (i Issuer) validate(fingerprints map[string]string) error {
	if i.Issuer == "" {
		return fmt.Errorf("the issuer is empty")
	}
	if len(i.Keys) > maxKeys {
		return fmt.Errorf("expected at most %d keys, got %d", maxKeys, len(i.Keys))
	}
	own := map[string]bool{}
	for _, k := range i.Keys {
		id := k.JWK.KeyID
		if id == "" {
			return fmt.Errorf("a key has no kid")
		}
		if own[id] {
			return fmt.Errorf("key %q occurs twice", id)
		}
		own[id] = true
		print, err := k.JWK.Fingerprint()
		if err != nil {
			return fmt.Errorf("key %q: %w", id, err)
		}
		if other, ok := fingerprints[id]; ok && other != print {
			return twoKeysError(id, other, print)
		}
		fingerprints[id] = print
		if err := k.window().check(); err != nil {
			return fmt.Errorf("key %q: %w", id, err)
		}
	}
	return nil
}

// domainID identifies a trust domain.
type domainID struct {
	name      string
	federated bool
}

func (s Domain) id() domainID { return domainID{s.TrustDomain, s.Federated} }

func (s Domain) validate() error {
	if len(s.X509Authorities) > maxKeys {
		return fmt.Errorf("expected at most %d authorities, got %d", maxKeys, len(s.X509Authorities))
	}
	seen := map[string]bool{}
	for n, a := range s.X509Authorities {
		if seen[a.DER] {
			return fmt.Errorf("authority %d occurs twice", n)
		}
		seen[a.DER] = true
		if _, err := a.Certificate(); err != nil {
			return fmt.Errorf("authority %d: %w", n, err)
		}
		if err := a.window().check(); err != nil {
			return fmt.Errorf("authority %d: %w", n, err)
		}
	}
	return nil
}

func twoKeysError(id, one, other string) error {
	return fmt.Errorf("the ID %q belongs to two different keys (SHA-256 %s and %s): no verifier can distinguish them: "+
		"find out which one the cluster had, and leave the other out", id, min(one, other), max(one, other))
}

// Certificate returns the authority's certificate.
func (a X509Authority) Certificate() (*x509.Certificate, error) {
	der, err := signing.DecodeBase64(a.DER)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Fingerprint returns the hex SHA-256 of the key's SubjectPublicKeyInfo in DER (RFC 5280). It does not depend
// on the key's ID.
func (j JWK) Fingerprint() (string, error) {
	key, err := j.Key()
	if err != nil {
		return "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public)
	if err != nil {
		return "", fmt.Errorf("expected a key of type RSA or EC: %w", err)
	}
	return SHA256(spki), nil
}

// Marshal returns the bytes of the file. Bundles with the same content in another order have the same bytes.
func (b *Bundle) Marshal() ([]byte, error) {
	sorted := *b
	sorted.APIVersion, sorted.Kind, sorted.Clusters = APIVersion, Kind, slices.Clone(b.Clusters)
	slices.SortFunc(sorted.Clusters, func(x, y Cluster) int { return cmp.Compare(x.UID, y.UID) })
	for i := range sorted.Clusters {
		sorted.Clusters[i] = sorted.Clusters[i].sorted()
	}
	out, err := json.MarshalIndent(sorted, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the trust bundle: %w", err)
	}
	return append(out, '\n'), nil
}

// sorted returns a copy whose lists are in the order of the file.
func (c Cluster) sorted() Cluster {
	c.ServiceAccountIssuers = slices.Clone(c.ServiceAccountIssuers)
	slices.SortStableFunc(c.ServiceAccountIssuers, func(x, y Issuer) int { return cmp.Compare(x.Issuer, y.Issuer) })
	for i := range c.ServiceAccountIssuers {
		keys := slices.Clone(c.ServiceAccountIssuers[i].Keys)
		slices.SortFunc(keys, func(x, y IssuerKey) int { return cmp.Compare(x.JWK.KeyID, y.JWK.KeyID) })
		c.ServiceAccountIssuers[i].Keys = keys
	}
	c.Domains = slices.Clone(c.Domains)
	slices.SortStableFunc(c.Domains, Domain.compare)
	for i := range c.Domains {
		authorities := slices.Clone(c.Domains[i].X509Authorities)
		slices.SortStableFunc(authorities, func(x, y X509Authority) int { return cmp.Compare(x.DER, y.DER) })
		c.Domains[i].X509Authorities = authorities
	}
	c.Recorders = slices.Clone(c.Recorders)
	slices.SortStableFunc(c.Recorders, func(x, y Recorder) int { return cmp.Compare(x.Subject, y.Subject) })
	return c
}

// compare sorts by trust domain, the cluster's own before a federated one.
func (s Domain) compare(other Domain) int {
	federated := map[bool]int{true: 1}
	return cmp.Or(cmp.Compare(s.TrustDomain, other.TrustDomain),
		cmp.Compare(federated[s.Federated], federated[other.Federated]))
}

// SHA256 returns the hex SHA-256 of a trust bundle file's bytes. Use it to pin a bundle.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
