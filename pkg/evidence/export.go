// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// ExportFormat is a form that other tools read.
type ExportFormat string

// The forms of exported evidence. docs/evidence.md describes them.
const (
	ExportDSSE           ExportFormat = "dsse"            // a DSSE envelope
	ExportSigstoreBundle ExportFormat = "sigstore-bundle" // a Sigstore bundle, version 0.3
	ExportInToto         ExportFormat = "in-toto"         // a statement with the token that vouches for it
)

// ExportFormats lists every form.
func ExportFormats() []ExportFormat {
	return []ExportFormat{ExportDSSE, ExportSigstoreBundle, ExportInToto}
}

// Summary describes a form in one line for help.
func (f ExportFormat) Summary() string {
	switch f {
	case ExportDSSE:
		return "a DSSE envelope, for evidence that has a signature"
	case ExportSigstoreBundle:
		return "a Sigstore bundle, for evidence that has a signature"
	case ExportInToto:
		return "the statement with the token that binds it, for payload-bound evidence, which has no signature"
	}
	return ""
}

// ExportOptions define what to export, and how.
type ExportOptions struct {
	Format   ExportFormat
	Step     string // name of the step, or of its container; empty for every step
	Audience string // first part of signing audiences
	// IssuerKey returns the JWK of an issuer's key, or nil if it is unknown. If IssuerKey is nil, no key is
	// known.
	IssuerKey func(issuer, keyID string) json.RawMessage
}

// Exported is the evidence of one step in the requested form: one JSON object on one line, or the error.
type Exported struct {
	Container string
	Data      []byte
	Note      string // what is missing from Data
	Err       error
}

// ErrNoEvidence is the cause if an export fails because the step carries no evidence.
var ErrNoEvidence = errors.New("no evidence to export")

// Export returns the evidence of each step of tr, or of the one that options name. It verifies nothing. It
// exports the statement that follows from the TaskRun as it is, with the signature or token that the step
// left.
func Export(tr *v1.TaskRun, options ExportOptions) ([]Exported, error) {
	inspected, _ := verify.Inspect(tr)
	var list []Exported
	var names []string
	for _, s := range inspected {
		names = append(names, s.State.Name)
		if options.Step != "" && options.Step != s.State.Name && options.Step != s.State.Container {
			continue
		}
		e := Exported{Container: s.State.Container}
		e.Data, e.Note, e.Err = exportStep(s, options)
		list = append(list, e)
	}
	switch {
	case len(inspected) == 0:
		return nil, fmt.Errorf("the TaskRun has no steps: %w", ErrNoEvidence)
	case len(list) == 0:
		return nil, fmt.Errorf("--step: expected one of %q, got %q", names, options.Step)
	}
	return list, nil
}

// exportStep exports one step, or returns an error with the next step.
func exportStep(in verify.InspectedStep, options ExportOptions) (data []byte, note string, err error) {
	unit, err := unitOf(in)
	if err != nil {
		return nil, "", err
	}
	payloadBound := unit.Header.Scheme.KeyCarrier() == ""
	switch {
	case payloadBound && options.Format != ExportInToto:
		return nil, "",
			fmt.Errorf("payload-bound evidence has no signature over the statement: the cluster's issuer signed a token "+
				"whose audience carries its digest: export it with -o %s", ExportInToto)
	case payloadBound:
		return exportStatement(in, unit, options)
	case options.Format == ExportInToto:
		return nil, "",
			fmt.Errorf("-o %s is for payload-bound evidence, this evidence has a signature: export it with -o %s or -o %s",
				ExportInToto, ExportDSSE, ExportSigstoreBundle)
	}
	signed, err := signedOf(in, unit)
	if err != nil {
		return nil, "", fmt.Errorf("the evidence is not well-formed: %w: see -o table", err)
	}
	if options.Format == ExportSigstoreBundle {
		data, err = json.Marshal(bundleOf(signed))
	} else {
		data, err = json.Marshal(envelopeOf(signed))
	}
	return data, "", err
}

// unitOf returns what a step's evidence of format v2 vouches for.
func unitOf(in verify.InspectedStep) (signing.Unit, error) {
	manifest := in.Carriers[signing.CarrierManifest]
	switch stateOf(in) {
	case StateEvidence:
	case StateUnreadable:
		return signing.Unit{}, fmt.Errorf("the termination message is not as Tekton stores it: see -o table")
	case StateUnsigned:
		return signing.Unit{}, fmt.Errorf("the step's reason is %q: %w", manifest, ErrNoEvidence)
	default:
		return signing.Unit{}, fmt.Errorf("the step left none: %w", ErrNoEvidence)
	}
	if formatOf(in.Carriers) == signing.FormatV1 {
		return signing.Unit{},
			fmt.Errorf("format v1 signs the values of results one by one and has no statement to export: " +
				"sign with format v2")
	}
	header, err := signing.ParseManifest(manifest)
	if err != nil {
		return signing.Unit{}, fmt.Errorf("the evidence is not well-formed: %w: see -o table", err)
	}
	want, got := slices.Sorted(slices.Values(header.Scheme.Carriers())), carriersOf(in.Carriers)
	if !slices.EqualFunc(want, got, func(name string, c Carrier) bool { return name == c.Name }) {
		return signing.Unit{}, fmt.Errorf("the evidence has more or fewer parts than its backend's: see -o table")
	}
	return in.Rebuild(header)
}

// PayloadBound is the exported form of payload-bound evidence: a statement with the token that vouches for
// it.
type PayloadBound struct {
	APIVersion  string `json:"apiVersion"` // tekton-sign.dev/v1alpha1
	Kind        string `json:"kind"`       // PayloadBoundStatement
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"` // the statement's bytes, base64
	Token       string `json:"token"`   // compact JWS, RFC 7515
	JWKS        *JWKS  `json:"jwks,omitempty"`
}

// Values of PayloadBound.
const (
	PayloadBoundAPIVersion = "tekton-sign.dev/v1alpha1"
	PayloadBoundKind       = "PayloadBoundStatement"
)

// JWKS is a JSON Web Key Set (RFC 7517) with the key that signed the token.
type JWKS struct {
	Keys []json.RawMessage `json:"keys"`
}

// exportStatement exports payload-bound evidence.
func exportStatement(
	in verify.InspectedStep, unit signing.Unit, options ExportOptions,
) (data []byte, note string, err error) {
	raw := in.Carriers[signing.CarrierToken]
	token, err := oidc.ParseToken(raw)
	if err != nil {
		return nil, "", fmt.Errorf("the evidence is not well-formed: %w: see -o table", err)
	}
	if kind, _ := audienceOf(token.Claims, options.Audience); kind != audiencePayload {
		return nil, "", fmt.Errorf("the token is %s and vouches for no statement, so it is not exported: "+
			"anyone who holds it may be able to use it", kind)
	}
	out := PayloadBound{
		APIVersion: PayloadBoundAPIVersion, Kind: PayloadBoundKind,
		PayloadType: signing.PayloadType, Payload: base64Of(unit.Statement()), Token: raw,
	}
	if options.IssuerKey != nil {
		if key := options.IssuerKey(token.Claims.Issuer, token.KeyID); key != nil {
			out.JWKS = &JWKS{Keys: []json.RawMessage{key}}
		}
	}
	if out.JWKS == nil {
		note = fmt.Sprintf("without jwks: key %q of issuer %q is not known: pass --trust-bundle FILE", token.KeyID,
			token.Claims.Issuer)
	}
	data, err = json.Marshal(out)
	return data, note, err
}
