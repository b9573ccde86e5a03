// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// ExportFormat is a form that other tools read.
type ExportFormat string

// The forms of exported evidence, besides that of bundles. docs/evidence.md describes all forms.
const (
	ExportDSSE   ExportFormat = "dsse"    // a DSSE envelope
	ExportInToto ExportFormat = "in-toto" // a statement with the token that vouches for it
)

// form is a row of the table of forms.
type form struct {
	name    ExportFormat
	summary string           // one line for help
	of      func(signed) any // evidence with a signature in this form; nil if the form is for payload-bound evidence
}

// forms returns the table, in the order in which help shows it.
func forms() []form {
	return []form{
		{
			name: ExportDSSE, summary: "a DSSE envelope, for evidence that has a signature",
			of: func(s signed) any { return envelopeOf(s) },
		},
		bundleForm(),
		{
			name:    ExportInToto,
			summary: "the statement with the token that binds it, for payload-bound evidence, which has no signature",
		},
	}
}

// formOf returns the row of a format. It is the first one for an unknown format.
func formOf(f ExportFormat) form {
	all := forms()
	return all[max(0, slices.IndexFunc(all, func(row form) bool { return row.name == f }))]
}

// ExportFormats lists every form.
func ExportFormats() []ExportFormat {
	var names []ExportFormat
	for _, f := range forms() {
		names = append(names, f.name)
	}
	return names
}

// Summary describes a form in one line for help. It is empty for an unknown form.
func (f ExportFormat) Summary() string {
	if row := formOf(f); row.name == f {
		return row.summary
	}
	return ""
}

// withSignature returns the flags that export evidence with a signature, for people.
func withSignature() string {
	var flags []string
	for _, f := range forms() {
		if f.of != nil {
			flags = append(flags, "-o "+string(f.name))
		}
	}
	return strings.Join(flags, " or ")
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
	payloadBound, row := unit.Header.Scheme.KeyCarrier() == "", formOf(options.Format)
	switch {
	case payloadBound && row.of != nil:
		return nil, "",
			fmt.Errorf("payload-bound evidence has no signature over the statement: the cluster's issuer signed a token "+
				"whose audience carries its digest: export it with -o %s", ExportInToto)
	case payloadBound:
		return exportStatement(in, unit, options)
	case row.of == nil:
		return nil, "",
			fmt.Errorf("-o %s is for payload-bound evidence, this evidence has a signature: export it with %s",
				row.name, withSignature())
	}
	signed, err := signedOf(in, unit)
	if err != nil {
		return nil, "", fmt.Errorf("the evidence is not well-formed: %w: see -o table", err)
	}
	data, err = json.Marshal(row.of(signed))
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
