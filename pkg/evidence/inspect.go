// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Inspect returns the evidence of tr. prefix is the prefix of signing audiences. It never changes tr.
func Inspect(tr *v1.TaskRun, prefix string) TaskRun {
	inspected, omitted := verify.Inspect(tr)
	out := TaskRun{
		TaskRun: verify.Ref{Namespace: tr.Namespace, Name: tr.Name, UID: tr.UID}, Pod: tr.Status.PodName,
		Steps: make([]Step, 0, len(inspected)),
	}
	for _, s := range inspected {
		out.Steps = append(out.Steps, inspectStep(s, prefix))
	}
	if omitted > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d more steps than evidence can count are left out", omitted))
	}
	if names := copiedCarriers(tr); len(names) > 0 {
		out.Notes = append(out.Notes, "status.results holds copies of signing material, which are not evidence: "+
			strings.Join(names, ", "))
	}
	out.Receipt = out.receiptOf(tr, prefix)
	return out
}

// copiedCarriers returns the names of the carriers that Tekton copied into status.results.
func copiedCarriers(tr *v1.TaskRun) []string {
	var names []string
	for _, r := range tr.Status.Results {
		if signing.IsReserved(r.Name) && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// HasEvidence reports whether any step carries signing material, or the add-on's record a receipt.
func (t TaskRun) HasEvidence() bool {
	return t.Receipt != nil || slices.ContainsFunc(t.Steps, func(s Step) bool { return s.State == StateEvidence })
}

func inspectStep(in verify.InspectedStep, prefix string) Step {
	s := Step{Container: in.State.Container, State: stateOf(in)}
	for _, p := range in.Problems {
		s.problem("%s: expected %s, got %s", p.Message, p.Expected, p.Got)
	}
	if t := in.State.Terminated; t != nil {
		s.ExitCode = &t.ExitCode
		if in.Ended {
			s.Reason = t.Reason
		}
	}
	switch s.State {
	case StateUnsigned:
		s.Reason = strings.TrimPrefix(in.Carriers[signing.CarrierManifest], reasonPrefix)
		s.Entries = entriesOf(in.Entries, signing.IsCarrier)
	case StateAbsent:
		s.Entries = entriesOf(in.Entries, signing.IsCarrier)
	case StateEvidence:
		s.Carriers = carriersOf(in.Carriers)
		s.decode(in, prefix)
	case StateUnreadable, StateEnded, StateRunning:
	}
	return s
}

// problem adds a part that a verifier refuses.
func (s *Step) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// reasonPrefix begins the manifest of a step that could not sign.
const reasonPrefix = "none:"

func stateOf(in verify.InspectedStep) State {
	_, unsigned := signing.ParseUnsignedManifest(in.Carriers[signing.CarrierManifest])
	switch {
	case in.State.Terminated == nil:
		return StateRunning
	case in.Ended:
		return StateEnded
	case len(in.Problems) > 0 && len(in.Entries) == 0:
		return StateUnreadable
	case len(in.Carriers) == 0:
		return StateAbsent
	case unsigned && len(in.Carriers) == 1:
		return StateUnsigned
	}
	return StateEvidence
}

func carriersOf(carriers map[string]string) []Carrier {
	list := make([]Carrier, 0, len(carriers))
	for name, value := range carriers {
		list = append(list, Carrier{Name: name, Bytes: len(value)})
	}
	slices.SortFunc(list, func(a, b Carrier) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// decode parses the signing material, by the format of its manifest.
func (s *Step) decode(in verify.InspectedStep, prefix string) {
	s.decodeToken(in.Carriers, prefix)
	switch formatOf(in.Carriers) {
	case signing.FormatV1:
		s.Format = signing.FormatV1
		s.decodeV1(in)
	case signing.FormatV2:
		s.Format = signing.FormatV2
		s.decodeV2(in)
	default:
		s.problem("unknown format: %s is %q", signing.CarrierManifest, in.Carriers[signing.CarrierManifest])
		s.Entries = entriesOf(in.Entries, signing.IsCarrier)
	}
}

// formatOf returns the format of the evidence. A manifest of format v1 lists zero or more names, and the name
// of a result cannot hold a colon.
func formatOf(carriers map[string]string) signing.Format {
	manifest, ok := carriers[signing.CarrierManifest]
	switch {
	case strings.HasPrefix(manifest, "v2:"):
		return signing.FormatV2
	case !ok || strings.Contains(manifest, ":"):
		return ""
	}
	return signing.FormatV1
}

func (s *Step) decodeV2(in verify.InspectedStep) {
	s.decodeCertificates(in.Carriers, signing.DecodeBase64URL)
	s.decodePublicKey(in.Carriers, signing.DecodeBase64URL)
	header, err := signing.DecodeManifest(in.Carriers[signing.CarrierManifest])
	if err != nil {
		s.problem("the manifest cannot be decoded: %v", err)
		s.Entries = entriesOf(in.Entries, signing.IsCarrier)
		return
	}
	if err := header.Validate(); err != nil {
		s.problem("the manifest breaks a rule: %v", err)
	}
	s.Header = headerOf(header)
	s.checkCarriers(header.Scheme)
	if value, ok := in.Carriers[signing.CarrierManifestSignature]; ok {
		s.Signatures = append(s.Signatures, signatureV2(header.Algorithm, value))
	}
	unit, err := in.Rebuild(header)
	if err != nil {
		s.problem("the statement cannot be rebuilt: %v", err)
		return
	}
	s.rebuilt(unit)
}

// checkCarriers adds problems for missing and superfluous parts.
func (s *Step) checkCarriers(scheme signing.Scheme) {
	want := slices.Sorted(slices.Values(scheme.Carriers()))
	got := make([]string, 0, len(s.Carriers))
	for _, c := range s.Carriers {
		got = append(got, c.Name)
	}
	if len(want) > 0 && !slices.Equal(want, got) {
		s.problem("the evidence of its backend is %s, got %s", strings.Join(want, ", "), strings.Join(got, ", "))
	}
}

// rebuilt shows the statement, and its digest next to the one in the token.
func (s *Step) rebuilt(unit signing.Unit) {
	for _, e := range unit.Entries {
		s.Entries = append(s.Entries, entryOf(e.Kind, e.Name, e.Value))
	}
	if int(unit.Header.Entries) != len(unit.Entries) {
		s.problem("the header counts %d entries, the message holds %d", unit.Header.Entries, len(unit.Entries))
	}
	payload, statement, digest := unit.Payload(), unit.Statement(), unit.Digest()
	s.Statement = &Statement{
		Text: string(statement), Bytes: len(statement),
		PayloadBytes: len(payload), PayloadSHA256: sum(payload), Digest: hex.EncodeToString(digest[:]),
	}
	if s.Token == nil || s.Token.Digest == "" {
		return
	}
	pair := DigestPair{Carrier: "audience of " + signing.CarrierToken, Carried: s.Token.Digest}
	switch {
	case s.Token.AudienceKind == audiencePayload:
		pair.Of, pair.Computed = "statement", s.Statement.Digest
	case s.PublicKey != nil:
		pair.Of, pair.Computed = "public key", s.PublicKey.SHA256
	default:
		return
	}
	s.Digests = append(s.Digests, pair)
}

// entriesOf lists the entries of a message without its carriers, for a step whose unit cannot be rebuilt.
func entriesOf(results []result.RunResult, isCarrier func(result.RunResult) bool) []Entry {
	var entries []Entry
	for _, r := range results {
		if !isCarrier(r) {
			entries = append(entries, entryOf(r.ResultType, r.Key, r.Value))
		}
	}
	return entries
}

func entryOf(kind result.ResultType, name, value string) Entry {
	called := map[result.ResultType]string{
		result.TaskRunResultType: "task result", result.StepResultType: "step result",
		result.StepArtifactsResultType: "step artifacts", result.TaskRunArtifactsResultType: "task artifacts",
	}[kind]
	return Entry{Kind: int(kind), Called: called, Name: name, Bytes: len(value), SHA256: sum([]byte(value))}
}

// sum returns hex SHA-256.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
