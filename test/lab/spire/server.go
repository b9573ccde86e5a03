// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Server is a SPIRE server. It runs as one pod in the network of the node.
type Server struct {
	Workload
	TrustDomain spiffeid.TrustDomain
	// Address is where its API serves, host:port, and BundleEndpoint the URL of its bundle (profile https_spiffe).
	Address        string
	BundleEndpoint string
	// ConfigMap in Namespace has its bundle, as the agents read it.
	ConfigMap string
}

// ID is the server's own SPIFFE ID.
func (s *Server) ID() spiffeid.ID {
	return spiffeid.RequireFromPath(s.TrustDomain, "/spire/server")
}

// CLI runs a command of spire-server in the server's pod, as an operator does, with text for its standard input.
func (s *Server) CLI(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	command := []string{
		"--namespace", Namespace, "exec", "--stdin", s.name + "-0", "--container=spire-server", "--", serverPath,
	}
	return s.kubectl(ctx, stdin, append(command, args...)...)
}

// Bundle asks the server for its bundle.
func (s *Server) Bundle(ctx context.Context) (*spiffebundle.Bundle, error) {
	out, err := s.CLI(ctx, "", "bundle", "show", "-format", "spiffe")
	if err != nil {
		return nil, err
	}
	return spiffebundle.Parse(s.TrustDomain, out)
}

// FederatedBundle asks the server for the bundle that it has of a trust domain, which may be its own.
func (s *Server) FederatedBundle(ctx context.Context, domain spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	if domain == s.TrustDomain {
		return s.Bundle(ctx)
	}
	out, err := s.CLI(ctx, "", "bundle", "list", "-id", domain.IDString(), "-format", "spiffe")
	if err != nil {
		return nil, err
	}
	return spiffebundle.Parse(domain, out)
}

// PublishedBundle reads the ConfigMap of the server's bundle.
func (s *Server) PublishedBundle(ctx context.Context) (*x509bundle.Bundle, error) {
	out, err := s.kubectl(ctx, "", "--namespace", Namespace, "get", "configmap", s.ConfigMap, "--output=json")
	if err != nil {
		return nil, err
	}
	var object struct{ Data map[string]string }
	if err := json.Unmarshal(out, &object); err != nil {
		return nil, err
	}
	return x509bundle.Parse(s.TrustDomain, []byte(object.Data[BundleKey]))
}

// Trust gives the server the bundle of another one.
func (s *Server) Trust(ctx context.Context, other *Server) error {
	bundle, err := other.CLI(ctx, "", "bundle", "show", "-format", "spiffe")
	if err != nil {
		return err
	}
	_, err = s.CLI(ctx, string(bundle), "bundle", "set", "-format", "spiffe", "-id", other.TrustDomain.IDString())
	return err
}

// Mint has the server issue an SVID for any ID of its trust domain, without an entry, as its administrator may.
func (s *Server) Mint(ctx context.Context, id spiffeid.ID, ttl time.Duration) (*x509svid.SVID, error) {
	out, err := s.CLI(ctx, "", "x509", "mint", "-spiffeID", id.String(), "-ttl", ttl.String())
	if err != nil {
		return nil, err
	}
	return parseMinted(out)
}

// parseMinted reads what mint prints: the chain, the key, and the roots, under a heading each.
func parseMinted(out []byte) (*x509svid.SVID, error) {
	text, _, found := strings.Cut(string(out), "Root CAs:")
	if !found {
		return nil, errors.New("minted SVID: expected a chain, a key and the roots")
	}
	var chain []*x509.Certificate
	var key []byte
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			key = block.Bytes
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("minted SVID: %w", err)
		}
		chain = append(chain, certificate)
	}
	return newSVID(chain, key)
}

func newSVID(chain []*x509.Certificate, key []byte) (*x509svid.SVID, error) {
	if len(chain) == 0 {
		return nil, errors.New("SVID: expected a certificate, got none")
	}
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", id, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of %s: expected one that signs, got %T", id, private)
	}
	return &x509svid.SVID{ID: id, Certificates: chain, PrivateKey: signer}, nil
}
