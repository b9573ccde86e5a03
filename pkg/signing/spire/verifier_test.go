// SPDX-License-Identifier: Apache-2.0

package spire_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const taskRunID = "spiffe://ci.example/ns/ci/taskrun/build"

// newChain returns the chain of a certificate below ca with depth intermediate authorities.
func newChain(t testing.TB, ca *verifytest.CA, depth int) []*x509.Certificate {
	t.Helper()
	for range depth {
		below, err := ca.Intermediate()
		if err != nil {
			t.Fatal(err)
		}
		ca = below
	}
	key, err := verifytest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.SVID("ci", "build", key.Public(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func newCA(t testing.TB) *verifytest.CA {
	t.Helper()
	ca, err := verifytest.NewCA(verifytest.TrustDomain)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestVerify(t *testing.T) {
	ca, stranger := newCA(t), newCA(t)
	known := spire.NewAuthorities([]spire.Authority{{Certificate: stranger.Certificate}, {Certificate: ca.Certificate}})
	at := verifytest.Start().Add(time.Minute)
	for _, depth := range []int{0, 1, 9} {
		svid, err := spire.ParseChain(spire.FormatChain(newChain(t, ca, depth)))
		if err != nil {
			t.Fatal(err)
		}
		if id, err := svid.ID(); err != nil || id != taskRunID || id != spire.TaskRunID("ci.example", "ci", "build") {
			t.Errorf("ID %q, %v", id, err)
		}
		if err := svid.CheckUsage(); err != nil {
			t.Error(err)
		}
		found, err := svid.Verify(known, at)
		if err != nil || len(found) != 1 || !found[0].Certificate.Equal(ca.Certificate) {
			t.Errorf("depth %d: %v, %v", depth, found, err)
		}
		if _, err := svid.Verify(spire.NewAuthorities(nil), at); !errors.Is(err, spire.ErrUnknownAuthority) {
			t.Errorf("depth %d, no authority: %v", depth, err)
		}
		if _, err := svid.Verify(spire.NewAuthorities([]spire.Authority{{Certificate: stranger.Certificate}}),
			at); err == nil {
			t.Errorf("depth %d: another authority of the same name is taken", depth)
		}
		for _, wrong := range []time.Time{at.Add(2 * time.Hour), at.Add(-2 * time.Hour), at.AddDate(1, 0, 0)} {
			if _, err := svid.Verify(known, wrong); err == nil || errors.Is(err, spire.ErrUnknownAuthority) {
				t.Errorf("depth %d at %s: %v", depth, wrong, err)
			}
		}
	}
}

// A certificate that names a known authority's key, but was signed with another, is forged. A missing
// authority would not help.
func TestForgedAuthority(t *testing.T) {
	ca := newCA(t)
	forger := newCA(t)
	forger.Certificate.SubjectKeyId = ca.Certificate.SubjectKeyId
	svid := &spire.SVID{Leaf: newChain(t, forger, 0)[0]}
	_, err := svid.Verify(spire.NewAuthorities([]spire.Authority{{Certificate: ca.Certificate}}), verifytest.Start())
	if err == nil || errors.Is(err, spire.ErrUnknownAuthority) {
		t.Errorf("got %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	chain := newChain(t, newCA(t), 1)
	valid := spire.FormatChain(chain)
	for name, carrier := range map[string]string{
		"empty": "", "padding": valid + "=", "cut off": valid[:len(valid)/2], "too long": strings.Repeat("A", 33<<10),
		"eleven": spire.FormatChain(slices.Repeat(chain[:1], 11)), "line break": valid[:64] + "\n" + valid[64:],
	} {
		if svid, err := spire.ParseChain(carrier); err == nil {
			t.Errorf("%s is read: %+v", name, svid)
		}
	}
	block := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0].Raw}))
	if svid, err := spire.ParseLegacy(block); err != nil || !svid.Leaf.Equal(chain[0]) {
		t.Errorf("one block: %v", err)
	}
	for name, carrier := range map[string]string{
		"empty": "", "garbage before": "x" + block, "two": block + block,
		"key":      strings.ReplaceAll(block, "CERTIFICATE", "KEY"),
		"too long": strings.Repeat(block, 64), "two in one": string(pem.EncodeToMemory(&pem.Block{
			Type: "CERTIFICATE", Bytes: slices.Concat(chain[0].Raw, chain[1].Raw),
		})),
	} {
		if svid, err := spire.ParseLegacy(carrier); err == nil {
			t.Errorf("%s is read as format v1: %+v", name, svid)
		}
	}
}

func TestTrustDomain(t *testing.T) {
	for id, want := range map[string]string{
		taskRunID: "ci.example", "spiffe://a:1/b": "a:1", "https://ci.example/": "", "ci.example": "", "spiffe:": "", "%": "",
	} {
		if got := spire.TrustDomain(id); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

// No carrier makes the reader panic, no carrier that can be read has a second form, and none leads to an
// authority that did not sign it.
func FuzzChain(f *testing.F) {
	ca := newCA(f)
	signed := newChain(f, ca, 1)
	known := spire.NewAuthorities([]spire.Authority{{Certificate: ca.Certificate}})
	f.Add(spire.FormatChain(signed))
	f.Add(spire.FormatChain(signed[:1]))
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed[0].Raw})))
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, carrier string) {
		svid, err := spire.ParseChain(carrier)
		if err == nil {
			again := spire.FormatChain(append([]*x509.Certificate{svid.Leaf}, svid.Intermediates...))
			if again != carrier {
				t.Errorf("%q is written back as %q", carrier, again)
			}
		} else if svid, err = spire.ParseLegacy(carrier); err != nil {
			return
		}
		_, _ = svid.ID()
		_ = svid.CheckUsage()
		if _, err := svid.Verify(known, verifytest.Start()); err == nil && !svid.Leaf.Equal(signed[0]) {
			t.Errorf("the authority has signed no %x", svid.Leaf.Raw)
		}
	})
}
