// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// Merge merges trust bundles and loses no key. It merges clusters by their UID, keys by issuer and
// fingerprint, and authorities by trust domain and certificate. The merged window of a key has the
// earliest notBefore and the latest end (docs/trust-bundle.md, "Merging"). The order of bundles does not
// matter, nor does repeating one.
//
// Merge returns an error if one key ID of a cluster belongs to two keys, if a cluster has two trust domains
// of its own, or if the outcome exceeds the limits of a bundle.
func Merge(bundles ...*Bundle) (*Bundle, error) {
	merged := &Bundle{APIVersion: APIVersion, Kind: Kind}
	index := map[string]int{}
	for _, b := range bundles {
		for _, c := range b.Clusters {
			i, ok := index[c.UID]
			if !ok {
				i = len(merged.Clusters)
				index[c.UID] = i
				merged.Clusters = append(merged.Clusters, Cluster{UID: c.UID})
			}
			if err := merged.Clusters[i].absorb(c); err != nil {
				return nil, fmt.Errorf("cluster %s: %w", c.String(), err)
			}
		}
		if err := merged.absorbRoot(b); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(merged.Clusters, func(x, y Cluster) int { return cmp.Compare(x.UID, y.UID) })
	for i := range merged.Clusters {
		merged.Clusters[i] = merged.Clusters[i].sorted()
	}
	if err := merged.validate(); err != nil {
		return nil, err
	}
	return merged, nil
}

// absorb adds the keys of other, which is the same cluster in another bundle.
func (c *Cluster) absorb(other Cluster) error {
	// Names are for people. The first one in the alphabet stays, so that the order of bundles does not matter.
	c.Name = pick(c.Name, other.Name)
	if c.TrustDomain != "" && other.TrustDomain != "" && c.TrustDomain != other.TrustDomain {
		return fmt.Errorf("two trust domains of its own, %q and %q: keep them in two bundles",
			min(c.TrustDomain, other.TrustDomain), max(c.TrustDomain, other.TrustDomain))
	}
	c.TrustDomain = pick(c.TrustDomain, other.TrustDomain)
	issuers := indexOf(c.ServiceAccountIssuers, func(x Issuer) string { return x.Issuer })
	for _, issuer := range other.ServiceAccountIssuers {
		i, ok := issuers[issuer.Issuer]
		if !ok {
			i = len(c.ServiceAccountIssuers)
			issuers[issuer.Issuer] = i
			c.ServiceAccountIssuers = append(c.ServiceAccountIssuers, Issuer{Issuer: issuer.Issuer})
		}
		if err := c.ServiceAccountIssuers[i].absorb(issuer.Keys); err != nil {
			return fmt.Errorf("issuer %q: %w", issuer.Issuer, err)
		}
	}
	domains := indexOf(c.Domains, Domain.id)
	for _, s := range other.Domains {
		i, ok := domains[s.id()]
		if !ok {
			i = len(c.Domains)
			domains[s.id()] = i
			c.Domains = append(c.Domains, Domain{TrustDomain: s.TrustDomain, Federated: s.Federated})
		}
		c.Domains[i].absorb(s.X509Authorities)
	}
	c.Recorders = unite(c.Recorders, other.Recorders)
	return nil
}

// pick returns the first of two names in the alphabet that is not empty.
func pick(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return min(a, b)
}

// absorb adds keys. A kid identifies one key.
func (i *Issuer) absorb(keys []IssuerKey) error {
	known := make(map[string]int, len(i.Keys))
	for n, k := range i.Keys {
		known[k.JWK.KeyID] = n
	}
	for _, key := range keys {
		n, ok := known[key.JWK.KeyID]
		if !ok {
			known[key.JWK.KeyID] = len(i.Keys)
			key.setWindow(key.window().normal())
			i.Keys = append(i.Keys, key)
			continue
		}
		if err := sameKey(i.Keys[n].JWK, key.JWK); err != nil {
			return err
		}
		i.Keys[n].JWK = firstText(i.Keys[n].JWK, key.JWK)
		i.Keys[n].setWindow(i.Keys[n].window().join(key.window()))
	}
	return nil
}

// sameKey returns an error unless two JWKs of one kid are the same key for the same algorithm.
func sameKey(a, b JWK) error {
	one, err := a.Fingerprint()
	if err != nil {
		return fmt.Errorf("key %q: %w", a.KeyID, err)
	}
	other, err := b.Fingerprint()
	if err != nil {
		return fmt.Errorf("key %q: %w", b.KeyID, err)
	}
	switch {
	case one != other:
		return twoKeysError(a.KeyID, one, other)
	case a.Algorithm != b.Algorithm:
		return fmt.Errorf("key %q is for %q in one bundle and for %q in another: correct one of them",
			a.KeyID, min(a.Algorithm, b.Algorithm), max(a.Algorithm, b.Algorithm))
	}
	return nil
}

// firstText chooses between two ways to write the same key.
func firstText(a, b JWK) JWK {
	if cmp.Or(cmp.Compare(a.N, b.N), cmp.Compare(a.E, b.E), cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) <= 0 {
		return a
	}
	return b
}

// absorb adds certificates.
func (s *Domain) absorb(authorities []X509Authority) {
	known := make(map[string]int, len(s.X509Authorities))
	for n, a := range s.X509Authorities {
		known[a.DER] = n
	}
	for _, a := range authorities {
		n, ok := known[a.DER]
		if !ok {
			known[a.DER] = len(s.X509Authorities)
			a.setWindow(a.window().normal())
			s.X509Authorities = append(s.X509Authorities, a)
			continue
		}
		s.X509Authorities[n].setWindow(s.X509Authorities[n].window().join(a.window()))
	}
}

// unite returns the elements of both lists without duplicates.
func unite[T comparable](a, b []T) []T {
	seen := make(map[T]bool, len(a)+len(b))
	for _, element := range a {
		seen[element] = true
	}
	a = slices.Clip(a)
	for _, element := range b {
		if !seen[element] {
			seen[element] = true
			a = append(a, element)
		}
	}
	return a
}

// indexOf returns the indexes of the elements of a list by their identity.
func indexOf[T any, K comparable](list []T, key func(T) K) map[K]int {
	places := make(map[K]int, len(list))
	for i, element := range list {
		places[key(element)] = i
	}
	return places
}

// mergeJSON merges two trusted roots without knowing their fields. They are objects of lists, and it merges the
// lists.
func mergeJSON(a, b json.RawMessage) (json.RawMessage, error) {
	merged := map[string]any{}
	for _, data := range []json.RawMessage{a, b} {
		if len(data) == 0 || string(data) == "null" {
			continue
		}
		var object map[string]any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber() // keeps numbers as they are written
		if err := decoder.Decode(&object); err != nil {
			return nil, fmt.Errorf("expected an object: %w", err)
		}
		for name, value := range object {
			united, err := uniteValues(merged[name], value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			merged[name] = united
		}
	}
	if len(a) == 0 && len(b) == 0 {
		return nil, nil
	}
	return json.Marshal(merged)
}

// uniteValues merges two lists. Other values must be equal if both have them.
func uniteValues(a, b any) (any, error) {
	list, isList := b.([]any)
	before, wasList := a.([]any)
	switch {
	case isList && (wasList || a == nil):
		return uniteLists(before, list)
	case a == nil:
		return b, nil
	case b == nil:
		return a, nil
	}
	one, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	other, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	if string(one) != string(other) {
		return nil, fmt.Errorf("%.80s in one bundle and %.80s in another: correct one of them",
			min(string(one), string(other)), max(string(one), string(other)))
	}
	return a, nil
}

// uniteLists returns the elements of both lists without duplicates, sorted by their text.
func uniteLists(a, b []any) ([]any, error) {
	byText := map[string]any{}
	texts := []string{}
	for _, element := range slices.Concat(a, b) {
		text, err := json.Marshal(element)
		if err != nil {
			return nil, err
		}
		if _, ok := byText[string(text)]; !ok {
			byText[string(text)] = element
			texts = append(texts, string(text))
		}
	}
	slices.Sort(texts)
	united := make([]any, len(texts))
	for i, text := range texts {
		united[i] = byText[text]
	}
	return united, nil
}
