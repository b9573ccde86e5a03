// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// newJWK returns a new P-256 key.
func newJWK(t testing.TB, kid string) trust.JWK {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	return trust.JWK{KeyType: "EC", KeyID: kid, Algorithm: "ES256", Curve: "P-256", X: text(point[1:33]),
		Y: text(point[33:])}
}

// newAuthority returns a new CA certificate, DER in base64.
func newAuthority(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// day returns midnight of a day of January 2026, or the zero Timestamp for 0.
func day(n int) trust.Timestamp {
	if n == 0 {
		return trust.Timestamp{}
	}
	return trust.At(time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC))
}

func oneKey(key trust.IssuerKey) *trust.Bundle {
	return &trust.Bundle{Clusters: []trust.Cluster{{UID: uid, ServiceAccountIssuers: []trust.Issuer{{
		Issuer: "https://i", Keys: []trust.IssuerKey{key},
	}}}}}
}

func TestMergeWindows(t *testing.T) {
	jwk := newJWK(t, "a")
	type w = [3]int // notBefore, notAfter, lastSeen as days
	for name, c := range map[string]struct{ a, b, want w }{
		"earliest and latest":                    {w{3, 5, 0}, w{2, 4, 0}, w{2, 5, 0}},
		"both in use":                            {w{3, 0, 7}, w{4, 0, 9}, w{3, 0, 9}},
		"retired later":                          {w{3, 0, 7}, w{3, 9, 0}, w{3, 9, 0}},
		"seen in use after it was retired":       {w{3, 5, 0}, w{6, 0, 7}, w{3, 0, 7}},
		"retired at the last sighting":           {w{3, 0, 7}, w{3, 7, 0}, w{3, 7, 0}},
		"nobody knows when it was seen in use":   {w{0, 0, 0}, w{3, 7, 0}, w{3, 7, 0}},
		"nobody knows, the other has it in use":  {w{0, 0, 0}, w{3, 0, 7}, w{3, 0, 7}},
		"nobody knows anything":                  {w{0, 0, 0}, w{0, 0, 0}, w{0, 0, 0}},
		"an end without a beginning":             {w{0, 5, 0}, w{0, 0, 0}, w{0, 5, 0}},
		"a beginning is better than none":        {w{0, 5, 0}, w{4, 0, 4}, w{4, 5, 0}},
		"in use without sighting, known before":  {w{2, 0, 0}, w{4, 5, 0}, w{2, 5, 0}},
		"in use without sighting, known after":   {w{6, 0, 0}, w{4, 5, 0}, w{4, 0, 6}},
		"in use without sighting, both begin":    {w{2, 0, 0}, w{4, 0, 0}, w{2, 0, 4}},
		"in use, begun after the other's end":    {w{9, 0, 0}, w{0, 5, 0}, w{9, 0, 9}},
		"rolled back: in use, retired, then not": {w{2, 0, 9}, w{2, 8, 0}, w{2, 0, 9}},
	} {
		for _, order := range [][2]w{{c.a, c.b}, {c.b, c.a}} {
			var bundles []*trust.Bundle
			for _, x := range order {
				bundles = append(bundles,
					oneKey(trust.IssuerKey{JWK: jwk, NotBefore: day(x[0]), NotAfter: day(x[1]), LastSeen: day(x[2])}))
			}
			merged, err := trust.Merge(bundles...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := merged.Clusters[0].ServiceAccountIssuers[0].Keys[0]
			if got.NotBefore != day(c.want[0]) || got.NotAfter != day(c.want[1]) || got.LastSeen != day(c.want[2]) {
				t.Errorf("%s: got %v, %v, %v, want days %v", name, got.NotBefore, got.NotAfter, got.LastSeen, c.want)
			}
		}
	}
}

func TestMergeUnites(t *testing.T) {
	ca := newAuthority(t)
	a, err := trust.Parse([]byte(bundle(`,"name":"prod","trustDomain":"d"` + keys(keyA) +
		`,"spiffe":[{"trustDomain":"d","federated":false,"x509Authorities":[{"der":"` + ca +
		`"}]}],"recorders":[{"subject":"s"}]`)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := trust.Parse([]byte(strings.Replace(bundle(`,"name":"main"`+keys(keyB)+
		`,"spiffe":[{"trustDomain":"d","federated":true,"x509Authorities":[{"der":"`+ca+
		`"}]}],"recorders":[{"subject":"r"},{"subject":"s"}]`),
		`]}]}`,
		`]},{"uid":"`+otherUID+
			`"}],"sigstore":{"trustedRoot":{"mediaType":"m","tlogs":[{"n":2},{"n":1}]},`+
			`"identities":[{"issuer":"i","subject":"s"}]}}`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	b2 := &trust.Bundle{Sigstore: &trust.Sigstore{
		TrustedRoot: json.RawMessage(`{"tlogs":[{"n": 3},{"n":2}],"mediaType":"m"}`),
		Identities:  []trust.SigstoreIdentity{{Issuer: "i", Subject: "other"}},
	}}
	merged, err := trust.Merge(a, b, b2)
	if err != nil {
		t.Fatal(err)
	}
	if len(merged.Clusters) != 2 {
		t.Fatalf("got %d clusters, want 2", len(merged.Clusters))
	}
	c := merged.Clusters[0]
	if c.Name != "main" || c.TrustDomain != "d" || len(c.ServiceAccountIssuers) != 1 ||
		len(c.ServiceAccountIssuers[0].Keys) != 2 {
		t.Errorf("cluster %+v", c)
	}
	if len(c.Domains) != 2 || c.Domains[0].Federated || !c.Domains[1].Federated {
		t.Errorf("own and federated authorities are not kept apart: %+v", c.Domains)
	}
	if want := []trust.Recorder{{Subject: "r"}, {Subject: "s"}}; !slices.Equal(c.Recorders, want) {
		t.Errorf("recorders: got %v, want %v", c.Recorders, want)
	}
	if got := string(merged.Sigstore.TrustedRoot); got != `{"mediaType":"m","tlogs":[{"n":1},{"n":2},{"n":3}]}` {
		t.Errorf("trusted root: got %s", got)
	}
	if len(merged.Sigstore.Identities) != 2 {
		t.Errorf("identities: got %v", merged.Sigstore.Identities)
	}
	data, err := merged.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Parse(data); err != nil {
		t.Errorf("the merged bundle cannot be read: %v", err)
	}
}

func TestMergeRefuses(t *testing.T) {
	a := newJWK(t, "a")
	otherAlgorithm := a
	otherAlgorithm.Algorithm = "ES384"
	domain := func(d string) *trust.Bundle {
		return &trust.Bundle{Clusters: []trust.Cluster{{UID: uid, TrustDomain: d}}}
	}
	elsewhere := oneKey(trust.IssuerKey{JWK: newJWK(t, "a")})
	elsewhere.Clusters[0].ServiceAccountIssuers[0].Issuer = "https://j"
	root := func(text string) *trust.Bundle {
		return &trust.Bundle{Sigstore: &trust.Sigstore{TrustedRoot: json.RawMessage(text)}}
	}
	for name, c := range map[string]struct {
		a, b *trust.Bundle
		want string
	}{
		"one kid, two keys": {
			oneKey(trust.IssuerKey{JWK: a}), oneKey(trust.IssuerKey{JWK: newJWK(t, "a")}), `"a" belongs to two different keys`,
		},
		"one kid, two keys, two issuers": {oneKey(trust.IssuerKey{JWK: a}), elsewhere, `"a" belongs to two different keys`},
		"one kid, two algorithms": {
			oneKey(trust.IssuerKey{JWK: a}), oneKey(trust.IssuerKey{JWK: otherAlgorithm}),
			`for "ES256" in one bundle and for "ES384"`,
		},
		"two trust domains":             {domain("d"), domain("e"), `"d" and "e"`},
		"trusted roots of two versions": {root(`{"mediaType":"v1"}`), root(`{"mediaType":"v2"}`), "mediaType"},
	} {
		for _, order := range [][]*trust.Bundle{{c.a, c.b}, {c.b, c.a}} {
			if _, err := trust.Merge(order...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
			}
		}
	}
	same := oneKey(trust.IssuerKey{JWK: newJWK(t, "a")})
	same.Clusters[0].UID = otherUID
	if _, err := trust.Merge(oneKey(trust.IssuerKey{JWK: a}), same); err != nil {
		t.Errorf("one kid in two clusters: %v", err)
	}
}

// material holds the keys that random bundles are made of.
type material struct {
	keys        []trust.JWK
	authorities []string
}

func newMaterial(t testing.TB) material {
	t.Helper()
	var m material
	for i := range 6 {
		m.keys = append(m.keys, newJWK(t, fmt.Sprint("key-", i)))
		m.authorities = append(m.authorities, newAuthority(t))
	}
	return m
}

// randomWindow returns random times that do not contradict each other.
func randomWindow(r *mathrand.Rand) (notBefore, notAfter, lastSeen trust.Timestamp) {
	begin := r.IntN(10)
	end := begin + 1 + r.IntN(10)
	switch r.IntN(3) {
	case 0:
		return day(begin), day(end), day(0)
	case 1:
		return day(begin), day(0), day(end)
	}
	return day(begin), day(0), day(0)
}

func (m material) bundle(r *mathrand.Rand) *trust.Bundle {
	b := &trust.Bundle{}
	for _, id := range []string{uid, otherUID} {
		if r.IntN(3) == 0 {
			continue
		}
		c := trust.Cluster{UID: id, Name: []string{"", "prod", "main"}[r.IntN(3)]}
		for _, issuer := range []string{"https://i", "https://j"} {
			var list []trust.IssuerKey
			for _, k := range m.keys {
				if r.IntN(2) == 0 {
					key := trust.IssuerKey{JWK: k}
					key.NotBefore, key.NotAfter, key.LastSeen = randomWindow(r)
					list = append(list, key)
				}
			}
			r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			c.ServiceAccountIssuers = append(c.ServiceAccountIssuers, trust.Issuer{Issuer: issuer, Keys: list})
		}
		s := trust.Domain{TrustDomain: "d", Federated: r.IntN(2) == 0}
		for _, der := range m.authorities {
			if r.IntN(2) == 0 {
				a := trust.X509Authority{DER: der}
				a.NotBefore, a.NotAfter, a.LastSeen = randomWindow(r)
				s.X509Authorities = append(s.X509Authorities, a)
			}
		}
		c.Domains = append(c.Domains, s)
		if r.IntN(2) == 0 {
			c.Recorders = append(c.Recorders, trust.Recorder{Subject: fmt.Sprint("s", r.IntN(3))})
		}
		b.Clusters = append(b.Clusters, c)
	}
	if r.IntN(2) == 0 {
		b.Sigstore = &trust.Sigstore{
			TrustedRoot: json.RawMessage(fmt.Sprintf(`{"mediaType":"m","tlogs":[{"id":%d},{"id":%d}]}`, r.IntN(4), r.IntN(4))),
			Identities:  []trust.SigstoreIdentity{{Issuer: "i", Subject: fmt.Sprint("s", r.IntN(3))}},
		}
	}
	return b
}

// keysOf lists every key of a bundle.
func keysOf(b *trust.Bundle) []string {
	var all []string
	for _, c := range b.Clusters {
		for _, i := range c.ServiceAccountIssuers {
			for _, k := range i.Keys {
				all = append(all, c.UID+" "+i.Issuer+" "+k.JWK.KeyID)
			}
		}
		for _, s := range c.Domains {
			for _, a := range s.X509Authorities {
				all = append(all, fmt.Sprint(c.UID, s.TrustDomain, s.Federated, a.DER))
			}
		}
	}
	return all
}

// TestMergeLaws merges random bundles. Order, grouping and repetition must not matter, and no key may get
// lost.
func TestMergeLaws(t *testing.T) {
	m := newMaterial(t)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	merge := func(bundles ...*trust.Bundle) *trust.Bundle {
		t.Helper()
		merged, err := trust.Merge(bundles...)
		if err != nil {
			t.Fatal(err)
		}
		return merged
	}
	text := func(b *trust.Bundle) []byte {
		t.Helper()
		data, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for n := range 100 {
		a, b, c := m.bundle(r), m.bundle(r), m.bundle(r)
		before := text(a)
		all := merge(a, b, c)
		for name, other := range map[string]*trust.Bundle{
			"commutative": merge(c, b, a), "associative, left": merge(merge(a, b), c),
			"associative, right": merge(a, merge(b, c)),
			"idempotent":         merge(all, all), "absorbing": merge(all, b), "repeated": merge(a, a, b, c, b),
		} {
			if want, got := text(all), text(other); !bytes.Equal(want, got) {
				t.Fatalf("round %d is not %s:\n%s\n%s", n, name, want, got)
			}
		}
		if !bytes.Equal(before, text(a)) {
			t.Fatalf("round %d: merging has changed its input", n)
		}
		kept := keysOf(all)
		for _, key := range slices.Concat(keysOf(a), keysOf(b), keysOf(c)) {
			if !slices.Contains(kept, key) {
				t.Fatalf("round %d lost %s", n, key)
			}
		}
		if _, err := trust.Parse(text(all)); err != nil {
			t.Fatalf("round %d cannot be read: %v", n, err)
		}
	}
}
