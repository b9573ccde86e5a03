// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"
)

// Backend names a source of identity for signing, the value of the key enforce-nonfalsifiability.
type Backend string

// The backends of TEP-0089 in tekton-sign.
const (
	BackendNone            Backend = "none"
	BackendSPIRE           Backend = "spire"
	BackendOIDCSAToken     Backend = "oidc-sa-token"
	BackendSigstoreKeyless Backend = "sigstore-keyless"
	BackendReceipt         Backend = "receipt" // nothing in the pod signs; the add-on compares and records
)

// Backends lists every known backend in the order in which help texts show them.
func Backends() []Backend {
	return []Backend{BackendNone, BackendOIDCSAToken, BackendSPIRE, BackendSigstoreKeyless, BackendReceipt}
}

// Names of the carriers (TEP-0089 and docs/evidence.md). A carrier is one of these names with result type 1.
const (
	CarrierManifest          = "RESULT_MANIFEST"
	CarrierManifestSignature = "RESULT_MANIFEST.sig"
	CarrierSVID              = "SVID"
	CarrierPublicKey         = "SIGNING_PUBKEY"
	CarrierToken             = "SIGNING_TOKEN"
	CarrierCertificate       = "SIGNING_CERT"
)

// IsReserved reports whether name belongs to a carrier of evidence v2 and may not be the name of a user's result.
func IsReserved(name string) bool {
	switch name {
	case CarrierManifest, CarrierManifestSignature, CarrierSVID, CarrierPublicKey, CarrierToken, CarrierCertificate:
		return true
	}
	return false
}

// IsCarrier reports whether r is signing material: a reserved name of result type 1.
func IsCarrier(r result.RunResult) bool {
	return r.ResultType == result.TaskRunResultType && IsReserved(r.Key)
}

// IsCertificate reports whether the carrier with a name holds a certificate.
func IsCertificate(name string) bool { return name == CarrierSVID || name == CarrierCertificate }

// NewCarrier returns the entry of a message for a carrier.
func NewCarrier(name, value string) result.RunResult {
	return result.RunResult{Key: name, Value: value, ResultType: result.TaskRunResultType}
}

// The annotations with which a controller vouches for the status of a TaskRun (TEP-0089, phase 2), in
// status.annotations.
const (
	StatusHash         = "tekton.dev/status-hash"     // what is signed
	StatusSignature    = "tekton.dev/status-hash-sig" // over the hash, as format v1 signs a value
	StatusCertificates = "tekton.dev/controller-svid" // PEM
	// StatusNotVerified exists, with any value, if somebody has changed the status since it was signed. It stays
	// for ever.
	StatusNotVerified = "tekton.dev/spire-verified"
)

// OwnStatusForm begins the hash in the add-on's own form. Tekton's form has only hex digits.
const OwnStatusForm = "v2."

// Scheme is the header's backend byte. It defines which identity vouches, and for what.
type Scheme uint8

// The schemes of evidence v2. Evidence of format v1 has the scheme with the same identity.
const (
	SchemeSPIRE            Scheme = 1
	SchemeOIDCKeyBound     Scheme = 2
	SchemeOIDCPayloadBound Scheme = 3
	SchemeSigstore         Scheme = 4
	SchemeOIDCAudienceOnly Scheme = 6
)

// schemeRow is everything that the formats define for a scheme.
type schemeRow struct {
	scheme   Scheme
	backend  Backend
	binding  Binding  // only for backends with a choice of bindings
	carriers []string // of format v2, exactly these
	// Of format v1, besides the signatures of results. Nil if v1 has no such evidence, or cannot distinguish it.
	legacy []string
	// The carrier of the key, or of its certificate. Empty if the identity itself vouches for the digest.
	key         string
	codeSigning bool        // the certificate of the key is for signing code, not for TLS
	algorithms  []Algorithm // with which a header may be combined
	assurance   Assurance   // what the identity proves in format v2
	words       string      // for people
}

// schemes is the table of schemes. Nothing may change it.
var schemes = []schemeRow{
	{
		scheme: SchemeSPIRE, backend: BackendSPIRE,
		carriers:   []string{CarrierManifest, CarrierManifestSignature, CarrierSVID},
		legacy:     []string{CarrierManifest, CarrierManifestSignature, CarrierSVID},
		key:        CarrierSVID,
		algorithms: []Algorithm{AlgorithmECDSAP256, AlgorithmEd25519, AlgorithmRSA},
		assurance:  AssuranceWorkloadIdentity,
		words:      "X.509 SVID of SPIRE",
	},
	{
		scheme: SchemeOIDCKeyBound, backend: BackendOIDCSAToken, binding: BindingKey,
		carriers:   []string{CarrierManifest, CarrierManifestSignature, CarrierPublicKey, CarrierToken},
		legacy:     []string{CarrierManifest, CarrierManifestSignature, CarrierPublicKey, CarrierToken},
		key:        CarrierPublicKey,
		algorithms: []Algorithm{AlgorithmECDSAP256},
		assurance:  AssuranceKeyBound,
		words:      "service account token bound to a key",
	},
	{
		scheme: SchemeOIDCPayloadBound, backend: BackendOIDCSAToken, binding: BindingPayload,
		carriers:   []string{CarrierManifest, CarrierToken},
		algorithms: []Algorithm{AlgorithmNone},
		assurance:  AssurancePayloadBound,
		words:      "service account token bound to the payload",
	},
	{
		scheme: SchemeSigstore, backend: BackendSigstoreKeyless,
		carriers: []string{CarrierManifest, CarrierManifestSignature, CarrierCertificate},
		legacy:   []string{CarrierManifest, CarrierManifestSignature, CarrierCertificate},
		key:      CarrierCertificate, codeSigning: true,
		algorithms: []Algorithm{AlgorithmECDSAP256},
		assurance:  AssuranceServiceAccount,
		words:      "certificate of Sigstore's Fulcio",
	},
	{
		scheme: SchemeOIDCAudienceOnly, backend: BackendOIDCSAToken, binding: BindingAudience,
		carriers:   []string{CarrierManifest, CarrierManifestSignature, CarrierPublicKey, CarrierToken},
		key:        CarrierPublicKey,
		algorithms: []Algorithm{AlgorithmECDSAP256},
		assurance:  AssuranceAudienceOnly,
		words:      "service account token with a fixed audience",
	},
}

// row returns the row of a scheme, or an empty row for an unknown scheme.
func (s Scheme) row() *schemeRow {
	for i := range schemes {
		if schemes[i].scheme == s {
			return &schemes[i]
		}
	}
	return &schemeRow{backend: BackendNone}
}

// Backend returns the backend to which a scheme belongs, BackendNone for an unknown scheme.
func (s Scheme) Backend() Backend { return s.row().backend }

// Carriers returns the names of exactly the carriers that a unit of format v2 has.
func (s Scheme) Carriers() []string { return slices.Clone(s.row().carriers) }

// KeyCarrier returns the carrier of the key that signs, or of its certificate. It is empty if no key signs
// the statement.
func (s Scheme) KeyCarrier() string { return s.row().key }

// CertificateCarriers lists the carriers that hold certificates.
func CertificateCarriers() []string {
	var names []string
	for i := range schemes {
		if name := schemes[i].key; name != "" && name != CarrierPublicKey {
			names = append(names, name)
		}
	}
	return names
}

// SignsCode reports whether the key has a certificate for signing code, which other tools accept.
func (s Scheme) SignsCode() bool { return s.row().codeSigning }

// Assurance returns what the identity proves in format v2, empty for an unknown scheme.
func (s Scheme) Assurance() Assurance { return s.row().assurance }

// Words describes a scheme for people. It is empty for an unknown scheme.
func (s Scheme) Words() string { return s.row().words }

// Algorithm returns the algorithm for a header with this scheme, or the first one if there are several.
func (s Scheme) Algorithm() Algorithm {
	if algorithms := s.row().algorithms; len(algorithms) > 0 {
		return algorithms[0]
	}
	return AlgorithmNone
}

// allows reports whether the scheme may be combined with the algorithm.
func (s Scheme) allows(a Algorithm) bool { return slices.Contains(s.row().algorithms, a) }

// LegacyScheme returns the scheme of evidence of format v1 with these carriers besides the signatures of
// results, or 0 if there is none. A token with a fixed audience and a token for a key have the same carriers:
// only the audience shows which it is.
func LegacyScheme(carriers []string) Scheme {
	got := slices.Sorted(slices.Values(carriers))
	for i := range schemes {
		row := &schemes[i]
		if row.legacy != nil && slices.Equal(slices.Sorted(slices.Values(row.legacy)), got) {
			return row.scheme
		}
	}
	return 0
}

// LegacyCarriers returns the sets of carriers that evidence of format v1 may have besides the signatures of
// results.
func LegacyCarriers() [][]string {
	var sets [][]string
	for i := range schemes {
		if schemes[i].legacy != nil {
			sets = append(sets, slices.Clone(schemes[i].legacy))
		}
	}
	return sets
}

// HasBindings reports whether the backend signs with tokens, which have a binding.
func (b Backend) HasBindings() bool {
	return slices.ContainsFunc(schemes, func(row schemeRow) bool { return row.backend == b && row.binding != "" })
}

// Scheme returns the scheme of evidence v2 for the binding, or 0 for an unknown one.
func (b Binding) Scheme() Scheme {
	for i := range schemes {
		if b != "" && schemes[i].binding == b {
			return schemes[i].scheme
		}
	}
	return 0
}

// The reasons of a signer for leaving no evidence.
const (
	UnsignedTooLong        UnsignedReason = "too-long"
	UnsignedTokenDenied    UnsignedReason = "token-denied"
	UnsignedAPIUnreachable UnsignedReason = "api-unreachable"
	UnsignedNoCredential   UnsignedReason = "no-credential"
	UnsignedSVIDTimeout    UnsignedReason = "svid-timeout"
	UnsignedFulcio         UnsignedReason = "fulcio"
	UnsignedReserved       UnsignedReason = "reserved"
	UnsignedUnreadable     UnsignedReason = "unreadable"
)

// unsignedRows is the table of those reasons, with text for people. Nothing may change it.
var unsignedRows = []struct {
	reason UnsignedReason
	words  string
	lasts  bool // later steps of the pod would wait in vain, too
}{
	{
		reason: UnsignedTooLong,
		words:  "results and evidence do not fit the termination message: emit less, or use fewer steps",
	},
	{
		reason: UnsignedTokenDenied, lasts: true,
		words: "it was refused a signing token: see the step's log, and whether the add-on granted the namespace tokens",
	},
	{
		reason: UnsignedAPIUnreachable, lasts: true,
		words: "it did not reach the API server: see the step's log, and the namespace's network policies",
	},
	{reason: UnsignedNoCredential, words: "it has no service account token: see automountServiceAccountToken"},
	{
		reason: UnsignedSVIDTimeout, lasts: true,
		words: "SPIRE gave it no identity in time: see the step's log, and the add-on's events",
	},
	{reason: UnsignedFulcio, words: "Fulcio gave it no certificate"},
	{reason: UnsignedReserved, words: "it wrote results with reserved names"},
	{
		reason: UnsignedUnreadable,
		words:  "it may not read a value of its own: see the step's log, and the users that the steps run as",
	},
}
