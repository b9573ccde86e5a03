// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// ecdsaHalf is the length of r and of s on P-256, in bytes.
const ecdsaHalf = 32

// maxNames is how many names of a manifest of format v1 are read.
const maxNames = 4096

// ecdsaSignature is the ASN.1 form of an ECDSA signature (RFC 3279, section 2.2.3).
type ecdsaSignature struct{ R, S *big.Int }

// signatureV2 describes the signature of format v2.
func signatureV2(a signing.Algorithm, value string) Signature {
	s := Signature{Carrier: signing.CarrierManifestSignature, Over: "the statement"}
	b, err := decodeCapped(value, signing.DecodeBase64URL)
	if err != nil {
		s.Problem = fmt.Sprintf("not base64url: %v", err)
		return s
	}
	s.Bytes = len(b)
	if a != signing.AlgorithmECDSAP256 {
		s.Form = algorithmText(a)
		return s
	}
	s.Form = "ECDSA P-256, r and s one after the other"
	if len(b) != 2*ecdsaHalf {
		s.Problem = fmt.Sprintf("expected %d bytes, got %d", 2*ecdsaHalf, len(b))
		return s
	}
	order := elliptic.P256().Params().N
	if new(big.Int).SetBytes(b[ecdsaHalf:]).Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		s.Problem = "of the two forms of an ECDSA signature this is the higher one, which a verifier refuses"
	}
	return s
}

// signatureV1 describes one of the signatures of format v1.
func signatureV1(carrier, value string) Signature {
	s := Signature{Carrier: carrier, Over: "the value of " + strings.TrimSuffix(carrier, signing.LegacySuffix) +
		", not its name"}
	b, err := decodeCapped(value, base64.StdEncoding.Strict().DecodeString)
	if err != nil {
		s.Problem = fmt.Sprintf("not base64: %v", err)
		return s
	}
	s.Bytes, s.Form = len(b), "plain bytes"
	var parsed ecdsaSignature
	if rest, err := asn1.Unmarshal(b, &parsed); err == nil && len(rest) == 0 {
		s.Form = "ECDSA, ASN.1"
	}
	return s
}

// decodeV1 parses the signing material of format v1.
func (s *Step) decodeV1(in verify.InspectedStep) {
	if manifest := in.Carriers[signing.CarrierManifest]; manifest != "" { // it is empty if the step has no results
		s.ManifestNames = strings.SplitN(manifest, ",", maxNames+1)
	}
	if len(s.ManifestNames) > maxNames {
		s.problem("the manifest holds more than %d names", maxNames)
		s.ManifestNames = s.ManifestNames[:maxNames]
	}
	s.decodeCertificates(in.Carriers, decodePEM)
	s.decodePublicKey(in.Carriers, base64.StdEncoding.Strict().DecodeString)
	isCarrier := func(r result.RunResult) bool {
		return r.ResultType == result.TaskRunResultType && signing.IsLegacyCarrier(r.Key)
	}
	for _, r := range in.Entries {
		if isCarrier(r) && strings.HasSuffix(r.Key, signing.LegacySuffix) {
			s.Signatures = append(s.Signatures, signatureV1(r.Key, r.Value))
		}
	}
	s.Entries = entriesOf(in.Entries, isCarrier)
}

// decodePEM returns the DER form of concatenated PEM certificates (RFC 7468).
func decodePEM(text string) ([]byte, error) {
	var der []byte
	rest := []byte(strings.TrimSpace(text))
	for len(rest) > 0 {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("expected PEM certificates and nothing else")
		}
		der, rest = append(der, block.Bytes...), after
	}
	return der, nil
}
