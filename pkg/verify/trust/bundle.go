// SPDX-License-Identifier: Apache-2.0

// Package trust reads, writes and fetches trust bundles: everything that verification needs without a
// network. Each key has the cluster to which it belongs and the window in which it was seen in use.
// docs/trust-bundle.md describes the file.
//
// [Parse] reads a bundle, and [Bundle.Cluster] chooses the cluster in it to pass to verify.New. [Fetch] reads
// a [Cluster] from a live cluster, [Merge] joins bundles, and a [History] keeps what was seen in the past,
// for evidence that is verified years later.
//
// What the package promises:
//
//   - A bundle that Parse returns is valid: it holds only public keys, no unknown members, and no key ID with
//     two keys in one cluster. Parse refuses files above [MaxBytes].
//   - Merging loses no key. The merged window of a key has the earliest begin and the latest known end.
//   - Only the Fetch functions use a network, with the client that the caller passes. The package does not
//     print, and has no clock.
//
// What it does not promise: the writer of the file decides what is trusted. The package cannot know whether a
// bundle comes from the cluster that it names.
//
// The zero Cluster trusts no keys, and is not valid without a UID. The zero [Timestamp] is an unknown time.
package trust

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// APIVersion and Kind of the trust bundle file.
const (
	APIVersion = "tekton-sign.dev/v1alpha1"
	Kind       = "TrustBundle"
)

// Bundle is a trust bundle file.
type Bundle struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Clusters   []Cluster `json:"clusters"`
	Sigstore   *Sigstore `json:"sigstore,omitempty"`
}

// Cluster holds the keys and identities to trust for one cluster.
type Cluster struct {
	Name                  string     `json:"name,omitempty"`
	UID                   string     `json:"uid"` // of the namespace kube-system
	ServiceAccountIssuers []Issuer   `json:"serviceAccountIssuers,omitempty"`
	TrustDomain           string     `json:"trustDomain,omitempty"`
	Domains               []Domain   `json:"spiffe,omitempty"`
	Recorders             []Recorder `json:"recorders,omitempty"`
}

// Issuer is a service account issuer of a cluster.
type Issuer struct {
	Issuer string      `json:"issuer"` // the claim iss, compared as a whole
	Keys   []IssuerKey `json:"keys"`
}

// IssuerKey is a public key of an issuer with the window in which it was seen in use.
type IssuerKey struct {
	JWK       JWK       `json:"jwk"`
	NotBefore Timestamp `json:"notBefore,omitzero"` // absent without a history
	NotAfter  Timestamp `json:"notAfter,omitzero"`  // absent while the key is in use
	LastSeen  Timestamp `json:"lastSeen,omitzero"`  // of a key in use: when it was last seen; absent if unknown
}

// JWK is a public key (RFC 7517) of type RSA or EC.
type JWK struct {
	KeyType   string `json:"kty"`
	KeyID     string `json:"kid"`
	Algorithm string `json:"alg"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

// Key returns the public key, parsed.
func (j JWK) Key() (oidc.Key, error) {
	data, err := json.Marshal(j)
	if err != nil {
		return oidc.Key{}, err
	}
	return oidc.ParseJWK(data)
}

// Names of SPIFFE in what this package writes.
const (
	prefixAuthority = "spiffe."   // of the data keys of a trust history
	domainURL       = "spiffe://" // before the name of a trust domain, for people
)

// Domain holds the X.509 authorities of one SPIFFE trust domain.
type Domain struct {
	TrustDomain     string          `json:"trustDomain"`
	Federated       bool            `json:"federated"`
	X509Authorities []X509Authority `json:"x509Authorities"`
}

// X509Authority is one CA certificate, DER in base64.
type X509Authority struct {
	DER       string    `json:"der"`
	NotBefore Timestamp `json:"notBefore,omitzero"`
	NotAfter  Timestamp `json:"notAfter,omitzero"`
	LastSeen  Timestamp `json:"lastSeen,omitzero"`
}

// Recorder is an identity whose records are trusted.
type Recorder struct {
	Subject string `json:"subject"` // system:serviceaccount:<namespace>:<name>
}

// AddOn is the identity with which the add-on records in every cluster.
const AddOn = "system:serviceaccount:" + settings.Namespace + ":controller"

// addOnRecorders returns the recorders of a cluster that is read live or from its own history.
func addOnRecorders() []Recorder { return []Recorder{{Subject: AddOn}} }

// Sigstore is the trust root of the backend sigstore-keyless.
type Sigstore struct {
	TrustedRoot json.RawMessage    `json:"trustedRoot,omitempty"`
	Identities  []SigstoreIdentity `json:"identities,omitempty"`
}

// SigstoreIdentity is an issuer and a template for the subject of TaskRuns' certificates.
type SigstoreIdentity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// absorbRoot adds the trust root of other. Either may be absent. TrustedRoot is a message of Sigstore
// (protobuf-specs, sigstore_trustroot.proto).
func (b *Bundle) absorbRoot(other *Bundle) error {
	if other.Sigstore == nil {
		return nil
	}
	own, more := b.Sigstore, other.Sigstore
	if own == nil {
		own = &Sigstore{}
	}
	root, err := mergeJSON(own.TrustedRoot, more.TrustedRoot)
	if err != nil {
		return fmt.Errorf("sigstore: trustedRoot: %w", err)
	}
	b.Sigstore = &Sigstore{TrustedRoot: root, Identities: unite(unite(nil, own.Identities), more.Identities)}
	slices.SortFunc(b.Sigstore.Identities, func(x, y SigstoreIdentity) int {
		return cmp.Or(cmp.Compare(x.Issuer, y.Issuer), cmp.Compare(x.Subject, y.Subject))
	})
	return nil
}

// Identities are the issuers and subjects that certificates may have.
type Identities struct {
	Sigstore []SigstoreIdentity `json:"sigstoreIdentities,omitempty"`
}

// CertificateRoot returns those identities, and whether the bundle also has the root of their certificates.
func (b *Bundle) CertificateRoot() (identities Identities, hasRoot bool) {
	if b.Sigstore == nil {
		return Identities{}, false
	}
	return Identities{Sigstore: b.Sigstore.Identities}, len(b.Sigstore.TrustedRoot) > 0
}

// List returns all identities.
func (i Identities) List() []SigstoreIdentity { return i.Sigstore }

// Timestamp is a time in RFC 3339 form, UTC, whole seconds. The zero value means unknown and is written as
// "".
type Timestamp struct{ time.Time }

// At returns the timestamp of t.
func At(t time.Time) Timestamp {
	if t.IsZero() {
		return Timestamp{}
	}
	return Timestamp{t.UTC().Truncate(time.Second)}
}

// MarshalJSON writes the RFC 3339 form, or "" for the zero value.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte(`""`), nil
	}
	return json.Marshal(t.UTC().Format(time.RFC3339))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("expected a time in quotes: %w", err)
	}
	if s == "" {
		*t = Timestamp{}
		return nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("expected a time like 2006-01-02T15:04:05Z: %w", err)
	}
	*t = At(at)
	return nil
}

// Cluster returns the cluster with this name or UID. With an empty choice the bundle must hold exactly one.
func (b *Bundle) Cluster(choice string) (*Cluster, error) {
	var names []string
	var found []*Cluster
	for i := range b.Clusters {
		c := &b.Clusters[i]
		names = append(names, c.String())
		if choice == "" || choice == c.Name || choice == c.UID {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(b.Clusters) == 0:
		return nil, fmt.Errorf("the trust bundle holds no cluster")
	case choice == "":
		return nil, fmt.Errorf("the trust bundle holds %d clusters: choose one with --trust-bundle-cluster: %s",
			len(b.Clusters), strings.Join(names, ", "))
	case len(found) > 1:
		return nil, fmt.Errorf("several clusters of the trust bundle are called %q: choose one by its UID: %s",
			choice, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("the trust bundle holds no cluster %q, only %s", choice, strings.Join(names, ", "))
}

// String returns the name and the UID.
func (c *Cluster) String() string {
	if c.Name == "" {
		return c.UID
	}
	return fmt.Sprintf("%s (%s)", c.Name, c.UID)
}
