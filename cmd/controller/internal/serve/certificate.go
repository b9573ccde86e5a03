// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNoCertificate is the error until there is a certificate.
var ErrNoCertificate = errors.New("the webhooks have no certificate yet")

// Pair is a certificate and its key in PEM. Version changes whenever they change.
type Pair struct {
	Version   string
	Cert, Key []byte
}

// Certificate is the certificate of the webhooks. A new one is not used at once, because API servers learn its
// authority only a moment later. Until then the previous one is used, if it is valid.
type Certificate struct {
	read    func() (Pair, error)
	now     func() time.Time
	overlap time.Duration

	mu       sync.Mutex
	version  string
	current  *tls.Certificate
	previous *tls.Certificate
	since    time.Time // when current replaced previous
}

// NewCertificate returns the certificate that read finds. It calls read whenever it needs the certificate.
func NewCertificate(read func() (Pair, error), overlap time.Duration, now func() time.Time) *Certificate {
	return &Certificate{read: read, now: now, overlap: overlap}
}

// Get returns the certificate to use now.
func (c *Certificate) Get() (*tls.Certificate, error) {
	pair, err := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = c.take(pair)
	}
	if c.current == nil { // a valid certificate stays in use if the Secret becomes invalid
		return nil, err
	}
	now := c.now()
	if c.previous != nil && now.Sub(c.since) < c.overlap && now.Before(c.previous.Leaf.NotAfter) {
		return c.previous, nil
	}
	c.previous = nil
	return c.current, nil
}

// take parses the pair unless it is the known one.
func (c *Certificate) take(pair Pair) error {
	if c.current != nil && c.version == pair.Version {
		return nil
	}
	if len(pair.Cert) == 0 || len(pair.Key) == 0 {
		return ErrNoCertificate
	}
	parsed, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("reading the certificate of the webhooks: %w", err)
	}
	if parsed.Leaf, err = x509.ParseCertificate(parsed.Certificate[0]); err != nil {
		return fmt.Errorf("reading the certificate of the webhooks: %w", err)
	}
	same := c.current != nil && c.current.Leaf.Equal(parsed.Leaf)
	if !same {
		c.previous, c.current, c.since = c.current, &parsed, c.now()
	}
	c.version = pair.Version
	return nil
}

// Valid returns an error unless there is a certificate that is valid now.
func (c *Certificate) Valid() error {
	certificate, err := c.Get()
	if err != nil {
		return err
	}
	if now := c.now(); now.Before(certificate.Leaf.NotBefore) || now.After(certificate.Leaf.NotAfter) {
		return fmt.Errorf("the certificate of the webhooks is valid from %s to %s",
			certificate.Leaf.NotBefore.Format(time.RFC3339), certificate.Leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}
