// SPDX-License-Identifier: Apache-2.0

// Package verifytest makes signed TaskRuns without a cluster, for tests: a virtual cluster signs service
// account tokens with keys of its own, and Tekton's own code turns the steps' messages into the TaskRun's
// status. The outcome looks like what a stock cluster stores.
package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Values of the virtual cluster.
const (
	ClusterName = "test"
	ClusterUID  = "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"
	Issuer      = "https://kubernetes.default.svc.cluster.local"
)

// Cluster is a virtual cluster: an issuer of service account tokens and, if CA is set, one of SVIDs.
type Cluster struct {
	KeyID     string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer

	CA        *CA   // of the trust domain TrustDomain, may be an intermediate one
	Federated []*CA // of other trust domains
}

// NewCluster returns a cluster with a new RSA key, as API servers have by default.
func NewCluster() (*Cluster, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return newCluster(jose.RS256, key)
}

// NewECCluster returns a cluster with a new P-256 key.
func NewECCluster() (*Cluster, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newCluster(jose.ES256, key)
}

func newCluster(algorithm jose.SignatureAlgorithm, key crypto.Signer) (*Cluster, error) {
	jwk := jose.JSONWebKey{Key: key.Public()}
	print, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &Cluster{KeyID: base64.RawURLEncoding.EncodeToString(print), Algorithm: algorithm, Private: key}, nil
}

// JWK returns the public key.
func (c *Cluster) JWK() (trust.JWK, error) {
	data, err := json.Marshal(jose.JSONWebKey{Key: c.Private.Public(), KeyID: c.KeyID, Algorithm: string(c.Algorithm)})
	if err != nil {
		return trust.JWK{}, err
	}
	var jwk trust.JWK
	return jwk, json.Unmarshal(data, &jwk)
}

// Trust returns the cluster in the form of a trust bundle.
func (c *Cluster) Trust() (*trust.Cluster, error) {
	jwk, err := c.JWK()
	if err != nil {
		return nil, err
	}
	cluster := &trust.Cluster{
		Name: ClusterName, UID: ClusterUID,
		ServiceAccountIssuers: []trust.Issuer{{Issuer: Issuer, Keys: []trust.IssuerKey{{JWK: jwk}}}},
		Recorders:             []trust.Recorder{{Subject: trust.AddOn}},
	}
	if c.CA != nil {
		cluster.TrustDomain = c.CA.TrustDomain
		cluster.Domains = append(cluster.Domains, c.CA.Bundle(false))
	}
	for _, ca := range c.Federated {
		cluster.Domains = append(cluster.Domains, ca.Bundle(true))
	}
	return cluster, nil
}

// Bundle returns a trust bundle file with this cluster alone.
func (c *Cluster) Bundle() ([]byte, error) {
	cluster, err := c.Trust()
	if err != nil {
		return nil, err
	}
	return (&trust.Bundle{Clusters: []trust.Cluster{*cluster}}).Marshal()
}

// Token returns a JWS over claims as this cluster's API server signs it.
func (c *Cluster) Token(claims any) (string, error) {
	return c.TokenWith(map[string]any{"alg": string(c.Algorithm), "kid": c.KeyID}, claims)
}

// TokenWith returns a JWS with exactly this header. Claims in a json.RawMessage are used as they are.
func (c *Cluster) TokenWith(header map[string]any, claims any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	p, err := json.Marshal(claims)
	if raw, ok := claims.(json.RawMessage); ok {
		p, err = raw, nil // Marshal would compact it
	}
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	signature, err := c.sign([]byte(signed))
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// sign makes the signature of RS256 or ES256 (RFC 7518).
func (c *Cluster) sign(data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	switch key := c.Private.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}
	return nil, fmt.Errorf("unexpected key %T", c.Private)
}
