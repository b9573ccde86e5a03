// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// History is what the add-on saw of a cluster's keys, by data key: a prefix and the hex SHA-256 of an issuer key
// (SPKI, DER), or of an X.509 authority (DER). It only grows. docs/trust-bundle.md, "Trust history", describes its
// layout in ConfigMaps.
type History map[string][]Sighting

// Sighting is one use of a key: by an issuer under a key ID, or by a trust domain. Only LastSeen and
// Current change.
type Sighting struct {
	Issuer string `json:"issuer,omitempty"`
	JWK    *JWK   `json:"jwk,omitempty"`

	TrustDomain string `json:"trustDomain,omitempty"`
	Federated   bool   `json:"federated,omitempty"`
	DER         string `json:"der,omitempty"` // base64

	FirstSeen Timestamp `json:"firstSeen"`
	LastSeen  Timestamp `json:"lastSeen"`
	Current   bool      `json:"current"` // it was in use at the last observation
}

// prefixIssuerKey begins the data keys of issuer keys. prefixAuthority begins those of authorities.
const prefixIssuerKey = "sa."

// maxEntry caps the text of one entry, in bytes: an issuer key of 4096 bits in 60 uses.
const maxEntry = 64 << 10

// sightingID identifies a sighting among those of one key.
type sightingID struct {
	issuer, kid, algorithm, trustDomain string
	federated                           bool
}

func (s Sighting) id() sightingID {
	id := sightingID{issuer: s.Issuer, trustDomain: s.TrustDomain, federated: s.Federated}
	if s.JWK != nil {
		id.kid, id.algorithm = s.JWK.KeyID, s.JWK.Algorithm
	}
	return id
}

func (s Sighting) compare(other Sighting) int {
	a, b := s.id(), other.id()
	federated := map[bool]int{true: 1}
	return cmp.Or(cmp.Compare(a.issuer, b.issuer), cmp.Compare(a.kid, b.kid), cmp.Compare(a.algorithm, b.algorithm),
		cmp.Compare(a.trustDomain, b.trustDomain), cmp.Compare(federated[a.federated], federated[b.federated]))
}

func (s Sighting) window() window {
	if s.Current {
		return window{notBefore: s.FirstSeen, lastSeen: s.LastSeen}
	}
	return window{notBefore: s.FirstSeen, notAfter: s.LastSeen}
}

// join merges what two sources know about one sighting.
func (s Sighting) join(other Sighting) Sighting {
	w := s.window().join(other.window())
	s.FirstSeen, s.LastSeen, s.Current = w.notBefore, w.end(), w.notAfter.IsZero()
	return s
}

// Find returns the sighting of a data key in the same use as like.
func (h History) Find(key string, like Sighting) (Sighting, bool) {
	i := slices.IndexFunc(h[key], func(s Sighting) bool { return s.id() == like.id() })
	if i < 0 {
		return Sighting{}, false
	}
	return h[key][i], true
}

// Put adds a sighting, or replaces the one in the same use.
func (h History) Put(key string, s Sighting) {
	list := slices.DeleteFunc(slices.Clone(h[key]), func(x Sighting) bool { return x.id() == s.id() })
	list = append(list, s)
	slices.SortFunc(list, Sighting.compare)
	h[key] = list
}

// Merge adds everything that other knows.
func (h History) Merge(other History) {
	for key, sightings := range other {
		for _, s := range sightings {
			if known, ok := h.Find(key, s); ok {
				s = known.join(s)
			}
			h.Put(key, s)
		}
	}
}

// Clone returns a copy that shares nothing which Put or Merge change.
func (h History) Clone() History { return maps.Clone(h) }

// Observe records that exactly the keys of live were in use at this time. If live has no keys of a kind, keys
// of that kind stay as they are, because nobody observed them.
func (h History) Observe(live *Cluster, at time.Time) error {
	now, err := sightingsOf(live, At(at))
	if err != nil {
		return err
	}
	for key, sightings := range h {
		looked := strings.HasPrefix(key, prefixIssuerKey) && len(live.ServiceAccountIssuers) > 0 ||
			strings.HasPrefix(key, prefixAuthority) && len(live.Domains) > 0
		for _, s := range sightings {
			if _, still := now.Find(key, s); looked && s.Current && !still {
				s.Current = false
				h.Put(key, s)
			}
		}
	}
	for key, sightings := range now {
		for _, s := range sightings {
			if known, ok := h.Find(key, s); ok {
				s.FirstSeen = known.FirstSeen
				if known.LastSeen.After(s.LastSeen.Time) { // another clock is ahead of this one
					s.LastSeen = known.LastSeen
				}
			}
			h.Put(key, s)
		}
	}
	return nil
}

// sightingsOf returns a cluster's keys as seen now.
func sightingsOf(c *Cluster, now Timestamp) (History, error) {
	h := History{}
	for _, issuer := range c.ServiceAccountIssuers {
		for _, k := range issuer.Keys {
			print, err := k.JWK.Fingerprint()
			if err != nil {
				return nil, fmt.Errorf("key %q: %w", k.JWK.KeyID, err)
			}
			jwk := k.JWK
			h.Put(prefixIssuerKey+print, Sighting{
				Issuer: issuer.Issuer, JWK: &jwk, FirstSeen: now, LastSeen: now, Current: true,
			})
		}
	}
	for _, s := range c.Domains {
		for _, a := range s.X509Authorities {
			certificate, err := a.Certificate()
			if err != nil {
				return nil, fmt.Errorf("authority of trust domain %q: %w", s.TrustDomain, err)
			}
			h.Put(prefixAuthority+SHA256(certificate.Raw), Sighting{
				TrustDomain: s.TrustDomain, Federated: s.Federated, DER: a.DER, FirstSeen: now, LastSeen: now, Current: true,
			})
		}
	}
	return h, nil
}

// Cluster returns the history as a cluster of a trust bundle. Its trust domain is the last one that was the
// cluster's own. Authorities of an earlier one stay, as federated: they identify no TaskRuns any more. It returns
// an error if no verifier could use it.
func (h History) Cluster(name, uid string) (*Cluster, error) {
	all, own := Cluster{}, h.ownDomain()
	for _, key := range slices.Sorted(maps.Keys(h)) {
		for _, s := range h[key] {
			if s.TrustDomain == own && s.Federated {
				continue // from a time when it was not the cluster's own
			}
			s.Federated = s.TrustDomain != own
			s.addTo(&all)
		}
	}
	c := Cluster{Name: name, UID: uid, TrustDomain: own, Recorders: addOnRecorders()}
	if err := c.absorb(all); err != nil {
		return nil, fmt.Errorf("trust history: %w", err)
	}
	c = c.sorted()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("trust history: %w", err)
	}
	return &c, nil
}

// ownDomain returns the trust domain that was seen last as the cluster's own, empty if none was. A cluster may
// get another one, and its settings may have named a wrong one for a while.
func (h History) ownDomain() string {
	var last Sighting
	for _, sightings := range h {
		for _, s := range sightings {
			if s.TrustDomain != "" && !s.Federated && (last.TrustDomain == "" || last.older(s)) {
				last = s
			}
		}
	}
	return last.TrustDomain
}

// older reports whether other is the later sighting. The order is the same for all replicas.
func (s Sighting) older(other Sighting) bool {
	if s.Current != other.Current {
		return other.Current
	}
	return cmp.Or(s.LastSeen.Compare(other.LastSeen.Time), s.FirstSeen.Compare(other.FirstSeen.Time),
		cmp.Compare(s.TrustDomain, other.TrustDomain)) < 0
}

// addTo appends the key to a cluster's lists.
func (s Sighting) addTo(c *Cluster) {
	if s.JWK != nil {
		key := IssuerKey{JWK: *s.JWK}
		key.setWindow(s.window())
		i := slices.IndexFunc(c.ServiceAccountIssuers, func(x Issuer) bool { return x.Issuer == s.Issuer })
		if i < 0 {
			i = len(c.ServiceAccountIssuers)
			c.ServiceAccountIssuers = append(c.ServiceAccountIssuers, Issuer{Issuer: s.Issuer})
		}
		c.ServiceAccountIssuers[i].Keys = append(c.ServiceAccountIssuers[i].Keys, key)
		return
	}
	authority := X509Authority{DER: s.DER}
	authority.setWindow(s.window())
	like := Domain{TrustDomain: s.TrustDomain, Federated: s.Federated}
	i := slices.IndexFunc(c.Domains, func(x Domain) bool { return x.compare(like) == 0 })
	if i < 0 {
		i = len(c.Domains)
		c.Domains = append(c.Domains, like)
	}
	c.Domains[i].X509Authorities = append(c.Domains[i].X509Authorities, authority)
}

// EncodeEntry returns the text of one data key.
func EncodeEntry(sightings []Sighting) (string, error) {
	text, err := json.Marshal(sightings)
	if err != nil {
		return "", fmt.Errorf("writing an entry of the trust history: %w", err)
	}
	if len(text) > maxEntry {
		return "", fmt.Errorf("expected an entry of the trust history of at most %d bytes, got %d", maxEntry, len(text))
	}
	return string(text), nil
}

// DecodeEntry strictly reads what EncodeEntry writes. The key must be the one that the data key names.
func DecodeEntry(key, text string) ([]Sighting, error) {
	if len(text) > maxEntry {
		return nil, fmt.Errorf("%s: expected at most %d bytes, got %d", key, maxEntry, len(text))
	}
	var sightings []Sighting
	if err := strictjson.Decode([]byte(text), &sightings); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(sightings) == 0 {
		return nil, fmt.Errorf("%s: expected a sighting, got none", key)
	}
	h := History{}
	for _, s := range sightings {
		dataKey, err := s.validate()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if dataKey != key {
			return nil, fmt.Errorf("%s: expected this key, got %s", key, dataKey)
		}
		if _, twice := h.Find(key, s); twice {
			return nil, fmt.Errorf("%s: one use of the key occurs twice", key)
		}
		h.Put(key, s)
	}
	if _, err := h.Cluster("", placeholderUID); err != nil { // two uses that contradict each other
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return h[key], nil
}

// placeholderUID is the UID of a cluster of which only the keys matter.
const placeholderUID = "00000000-0000-0000-0000-000000000000"

// validate returns the data key that the sighting belongs to.
func (s Sighting) validate() (string, error) {
	if s.FirstSeen.IsZero() || s.LastSeen.IsZero() || s.LastSeen.Before(s.FirstSeen.Time) {
		return "", fmt.Errorf("expected firstSeen and lastSeen in this order, got %s and %s", s.FirstSeen.Time,
			s.LastSeen.Time)
	}
	switch {
	case s.JWK != nil && (s.Issuer == "" || s.TrustDomain != "" || s.Federated || s.DER != ""):
		return "", fmt.Errorf("expected a key with its issuer and nothing else")
	case s.JWK == nil && (s.DER == "" || s.TrustDomain == "" || s.Issuer != ""):
		return "", fmt.Errorf("expected a key with its issuer, or a certificate with its trust domain")
	case s.JWK != nil && s.JWK.KeyID == "":
		return "", fmt.Errorf("a key has no kid")
	}
	var c Cluster
	s.addTo(&c)
	h, err := sightingsOf(&c, s.LastSeen)
	if err != nil {
		return "", err
	}
	for key := range h {
		return key, nil
	}
	return "", fmt.Errorf("expected a key, got none")
}
