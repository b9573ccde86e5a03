// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	certresources "knative.dev/pkg/webhook/certificates/resources"
)

// TestCertificateOverlap replaces the certificate: the old one is used while API servers learn of the new one,
// unless it has expired, and what cannot be used changes nothing.
func TestCertificateOverlap(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	first, second, expired := makePair(t, "1", now.Add(time.Hour)), makePair(t, "2", now.Add(2*time.Hour)),
		makePair(t, "0", now.Add(-time.Second))
	read := Pair{}
	var readErr error
	c := NewCertificate(func() (Pair, error) { return read, readErr }, time.Minute, clock)
	if _, err := c.Get(); !errors.Is(err, ErrNoCertificate) || c.Valid() == nil {
		t.Fatalf("expected no certificate, got %v", err)
	}

	read = expired
	wantPair(t, c, expired)
	if c.Valid() == nil {
		t.Error("expected an expired certificate to be no good")
	}
	read = first
	wantPair(t, c, first) // at once: the one before has expired
	if err := c.Valid(); err != nil {
		t.Error(err)
	}

	read = second
	wantPair(t, c, first)
	now = now.Add(59 * time.Second)
	wantPair(t, c, first)
	readErr = errors.New("the Secret is gone")
	now = now.Add(2 * time.Second)
	wantPair(t, c, second)
	readErr, read = nil, Pair{Version: "3", Cert: []byte("nonsense"), Key: []byte("nonsense")}
	wantPair(t, c, second)
	read = second
	read.Version = "4" // somebody touched the Secret
	wantPair(t, c, second)
}

func wantPair(t *testing.T, c *Certificate, want Pair) {
	t.Helper()
	got, err := c.Get()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(want.Cert)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Leaf.Equal(leaf) {
		t.Errorf("expected the certificate until %s, got the one until %s", leaf.NotAfter, got.Leaf.NotAfter)
	}
}

func makePair(t *testing.T, version string, notAfter time.Time) Pair {
	t.Helper()
	key, cert, _, err := certresources.CreateCerts(context.Background(), "service", "namespace", notAfter)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{Version: version, Cert: cert, Key: key}
}
