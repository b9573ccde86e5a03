// SPDX-License-Identifier: Apache-2.0

package signing_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// schemes are all schemes of headers.
var schemes = []signing.Scheme{
	signing.SchemeSPIRE, signing.SchemeOIDCKeyBound, signing.SchemeOIDCPayloadBound, signing.SchemeSigstore,
	signing.SchemeOIDCAudienceOnly,
}

// Every number in a header is a scheme with a complete row, or not a scheme.
func TestSchemes(t *testing.T) {
	for n := range 256 {
		s := signing.Scheme(n)
		if !slices.Contains(schemes, s) {
			if s.Backend() != signing.BackendNone || s.Carriers() != nil || s.Assurance() != "" || s.Words() != "" ||
				s.KeyCarrier() != "" {
				t.Errorf("scheme %d is none, and the table has a row for it", n)
			}
			for a := range 256 {
				if err := (signing.Header{Scheme: s, Algorithm: signing.Algorithm(a), Flags: signing.FlagLast,
					Count: 1}).Validate(); err == nil {
					t.Errorf("scheme %d with algorithm %d: expected an error, got none", n, a)
				}
			}
			continue
		}
		if !slices.Contains(signing.Backends(), s.Backend()) || s.Backend() == signing.BackendNone {
			t.Errorf("scheme %d: backend %q", n, s.Backend())
		}
		if !slices.Contains(signing.Assurances(), s.Assurance()) || s.Words() == "" {
			t.Errorf("scheme %d: assurance %q, words %q", n, s.Assurance(), s.Words())
		}
		for _, name := range s.Carriers() {
			if !signing.IsReserved(name) {
				t.Errorf("scheme %d: %s is not reserved", n, name)
			}
		}
		signs := slices.Contains(s.Carriers(), signing.CarrierManifestSignature)
		if key := s.KeyCarrier(); (key != "") != signs || key != "" && !slices.Contains(s.Carriers(), key) {
			t.Errorf("scheme %d: key in %q, carriers %q", n, key, s.Carriers())
		}
		if (s.Algorithm() != signing.AlgorithmNone) != signs {
			t.Errorf("scheme %d: algorithm %d, carriers %q", n, s.Algorithm(), s.Carriers())
		}
	}
}

// The carriers of format v1 identify the scheme, in any order. A fixed audience has the carriers of a key.
func TestLegacyScheme(t *testing.T) {
	both := []string{signing.CarrierManifest, signing.CarrierManifestSignature}
	for name, test := range map[string]struct {
		carriers []string
		want     signing.Scheme
	}{
		"certificate of a workload": {append([]string{signing.CarrierSVID}, both...), signing.SchemeSPIRE},
		"token and key": {
			append([]string{signing.CarrierToken, signing.CarrierPublicKey}, both...), signing.SchemeOIDCKeyBound,
		},
		"certificate":         {append([]string{signing.CarrierCertificate}, both...), signing.SchemeSigstore},
		"token without a key": {append([]string{signing.CarrierToken}, both...), 0},
		"two identities":      {append([]string{signing.CarrierSVID, signing.CarrierCertificate}, both...), 0},
		"no identity":         {both, 0},
		"nothing":             {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := signing.LegacyScheme(test.carriers); got != test.want {
				t.Errorf("got scheme %d, want %d", got, test.want)
			}
		})
	}
	if n := len(signing.LegacyCarriers()); n != 3 {
		t.Errorf("%d sets of carriers, want 3", n)
	}
}

// A caller that changes a returned slice does not change the table.
func TestSchemesAreCopied(t *testing.T) {
	signing.SchemeSPIRE.Carriers()[0] = "x"
	signing.LegacyCarriers()[0][0] = "x"
	want := []string{signing.CarrierManifest, signing.CarrierManifestSignature, signing.CarrierSVID}
	if diff := cmp.Diff(want, signing.SchemeSPIRE.Carriers()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := signing.LegacyScheme(want); got != signing.SchemeSPIRE {
		t.Errorf("got scheme %d", got)
	}
}
