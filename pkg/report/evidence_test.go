// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/evidence"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

var (
	digestA = strings.Repeat("ab", 32)
	digestB = strings.Repeat("cd", 32)
)

// inspected is a TaskRun with a step of each kind.
func inspected() evidence.TaskRun {
	exitCode := int32(0)
	return evidence.TaskRun{
		TaskRun: verify.Ref{Namespace: "ci", Name: "build", UID: "6340374f-3a88-4ff2-812e-c155a2d8e142"}, Pod: "build-pod",
		Steps: []evidence.Step{
			payloadBoundStep(&exitCode), spireStep(&exitCode), legacyStep(),
			{Container: "step-d", State: evidence.StateUnsigned, Reason: "token-denied", ExitCode: &exitCode},
			{Container: "step-e", State: evidence.StateAbsent, ExitCode: &exitCode, Entries: []evidence.Entry{
				{Kind: 4, Called: "step result", Name: "scan", Bytes: 5, SHA256: digestA},
			}},
			{
				Container: "step-f", State: evidence.StateUnreadable,
				Problems: []string{"the message was cut off: expected JSON, got [{"},
			},
			{Container: "step-g", State: evidence.StateEnded, Reason: "TaskRunTimeout"},
			{Container: "step-h", State: evidence.StateRunning},
		},
		Notes:   []string{"status.results holds copies of signing material, which are not evidence: SVID"},
		Receipt: receipt(),
	}
}

func receipt() *evidence.Receipt {
	return &evidence.Receipt{
		Basis: "evidence and receipt", VerifiedAt: "2026-11-23T12:00:35Z", AddOnVersion: "v0.4.0",
		PodUID: "3db15e48-971f-4815-84b3-272e52f61a10", Node: "node-1", RuntimeClass: "gvisor", Phase: "Running",
		Created: "2026-11-23T12:00:01Z", Attempts: []int{0}, Digest: digestA,
		Steps: []evidence.ReceiptStep{
			{Container: "step-a", Reason: "Completed", ImageID: "busybox@sha256:" + digestB, Message: digestA},
			{Container: "step-h", ImageID: "busybox@sha256:" + digestB},
		},
		Token: &evidence.Token{
			Bytes: 900, Algorithm: "RS256", KeyID: "kid-1", AudienceKind: "record", Digest: digestA,
			Claims: &evidence.Claims{Subject: "system:serviceaccount:tekton-sign:controller", IssuedAt: "2026-11-23T12:00:36Z"},
		},
	}
}

func payloadBoundStep(exitCode *int32) evidence.Step {
	return evidence.Step{
		Container: "step-a", State: evidence.StateEvidence, Format: signing.FormatV2, ExitCode: exitCode,
		Carriers: []evidence.Carrier{{Name: "RESULT_MANIFEST", Bytes: 62}, {Name: "SIGNING_TOKEN", Bytes: 1214}},
		Header: &evidence.Header{
			Scheme:    evidence.Code{Value: 3, Meaning: "service account token bound to the payload"},
			Backend:   signing.BackendOIDCSAToken,
			Algorithm: evidence.Code{Meaning: "none, the token vouches for the digest itself"},
			Flags:     evidence.Flags{Value: 5, Meanings: []string{"the pod's last step", "the step fails the TaskRun"}},
			PodUID:    "3db15e48-971f-4815-84b3-272e52f61a10", TaskRunUID: "6340374f-3a88-4ff2-812e-c155a2d8e142",
			SignedAt: "2026-11-23T12:00:30Z", Index: 1, Count: 2, Entries: 1,
		},
		Token: &evidence.Token{
			Bytes: 1214, HeaderJSON: `{"alg":"RS256","kid":"kid-1"}`, ClaimsJSON: `{"iss":"https://kubernetes.default.svc"}`,
			Algorithm: "RS256", KeyID: "kid-1", AudienceKind: "payload-bound", Digest: digestB,
			Claims: &evidence.Claims{
				Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:ci:builder",
				Audience: []string{"tekton-result-signing:p:zc3"}, IssuedAt: "2026-11-23T12:00:30Z", Expiry: "2026-11-23T12:10:30Z",
				Namespace: "ci", ServiceAccount: "builder", Pod: "build-pod", PodUID: "3db15e48-971f-4815-84b3-272e52f61a10",
			},
		},
		Entries: []evidence.Entry{{Kind: 1, Called: "task result", Name: "größe", Bytes: 71, SHA256: digestA}},
		Statement: &evidence.Statement{Text: `{"_type":"x"}`, Bytes: 753, PayloadBytes: 215, PayloadSHA256: digestA,
			Digest: digestA},
		Digests: []evidence.DigestPair{{Of: "statement", Computed: digestA, Carrier: "audience of SIGNING_TOKEN",
			Carried: digestB}},
	}
}

func spireStep(exitCode *int32) evidence.Step {
	key := evidence.PublicKey{Kind: "ECDSA P-256", SHA256: digestA}
	return evidence.Step{
		Container: "step-b", State: evidence.StateEvidence, Format: signing.FormatV2, ExitCode: exitCode,
		Problems: []string{"the manifest breaks a rule: unknown flag bits 0x80"},
		Certificates: []evidence.Certificate{{
			Issuer: "CN=example", Names: []string{"URI:spiffe://example.org/ns/ci/taskrun/build"}, Serial: "ff",
			NotBefore: "2026-11-23T12:00:00Z", NotAfter: "2026-11-23T13:00:00Z", Usages: []string{"digital signature"},
			PublicKey: key, SHA256: digestB,
		}},
		PublicKey: &key,
		Signatures: []evidence.Signature{{
			Carrier: "RESULT_MANIFEST.sig", Over: "the statement", Form: "ECDSA P-256, r and s one after the other", Bytes: 63,
			Problem: "expected 64 bytes, got 63",
		}},
	}
}

func legacyStep() evidence.Step {
	return evidence.Step{
		Container: "step-c", State: evidence.StateEvidence, Format: signing.FormatV1,
		ManifestNames: []string{"IMAGE_DIGEST", "TAGS"},
		Token:         &evidence.Token{Bytes: 9, Problem: "expected a token of 3 parts, got 1", HeaderJSON: "\x1b[31m"},
	}
}

func newEvidence(items ...evidence.TaskRun) *EvidenceReport {
	r := NewEvidence(items, nil)
	r.Tool = version.Info{Version: "v1.2.3"} // the build's own version would change the golden files
	return r
}

func TestEvidenceGolden(t *testing.T) {
	table := func(options Options) func(*EvidenceReport, *bytes.Buffer) error {
		return func(r *EvidenceReport, b *bytes.Buffer) error { return r.Table(b, options) }
	}
	for name, write := range map[string]func(*EvidenceReport, *bytes.Buffer) error{
		"evidence.txt":         table(Options{}),
		"evidence-verbose.txt": table(Options{Verbose: true}),
		"evidence-colour.txt":  table(Options{Style: NewStyle(true)}),
		"evidence.json":        func(r *EvidenceReport, b *bytes.Buffer) error { return r.JSON(b) },
		"evidence.yaml":        func(r *EvidenceReport, b *bytes.Buffer) error { return r.YAML(b) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(newEvidence(inspected()), &b); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name, b.Bytes())
		})
	}
}

func TestEvidenceMachineFormatsAgree(t *testing.T) {
	var asJSON, asYAML bytes.Buffer
	r := newEvidence(inspected())
	if err := r.JSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	if err := r.YAML(&asYAML); err != nil {
		t.Fatal(err)
	}
	var fromJSON, fromYAML map[string]any
	if err := json.Unmarshal(asJSON.Bytes(), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(asYAML.Bytes(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("JSON and YAML differ (-JSON +YAML):\n%s", diff)
	}
	if fromJSON["verified"] != false || fromJSON["notice"] != EvidenceNotice {
		t.Errorf("verified %v, notice %v", fromJSON["verified"], fromJSON["notice"])
	}
}

// Even if every string of an inspection is hostile, the first and the last line are the tool's own.
func TestNothingForgesTheNotice(t *testing.T) {
	const evil = "x\n✓ VERIFIED ci/build\r\x1b[1A\u2028\u202e"
	data, err := json.Marshal(newEvidence(inspected()).Items)
	if err != nil {
		t.Fatal(err)
	}
	var values any
	if err := json.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	states := regexp.MustCompile(`^(evidence|unsigned|absent|unreadable|ended|running|v1|v2)$`)
	if data, err = json.Marshal(poison(values, func(s string) string {
		if states.MatchString(s) {
			return s
		}
		return evil
	})); err != nil {
		t.Fatal(err)
	}
	var items []evidence.TaskRun
	if err := json.Unmarshal(data, &items); err != nil {
		t.Fatal(err)
	}
	for _, verbose := range []bool{false, true} {
		var b bytes.Buffer
		if err := newEvidence(items...).Table(&b, Options{Verbose: verbose}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for _, line := range []string{lines[0], lines[len(lines)-1]} {
			if !strings.HasPrefix(line, "Nothing here is verified") {
				t.Errorf("the first or last line is %q", line)
			}
		}
		if i := regexp.MustCompile(`(?m)^\s*✓|[^\n\x20-\x7e✓…]`).FindStringIndex(b.String()); i != nil {
			t.Errorf("text of the TaskRun passes at %d: %q", i[0], b.String()[max(0, i[0]-80):i[1]])
		}
	}
}

// poison replaces every string in a JSON value.
func poison(v any, change func(string) string) any {
	switch v := v.(type) {
	case string:
		return change(v)
	case []any:
		for i := range v {
			v[i] = poison(v[i], change)
		}
	case map[string]any:
		for k := range v {
			v[k] = poison(v[k], change)
		}
	}
	return v
}

// A message can hold thousands of entries. The table shows how many, JSON shows all of them.
func TestEvidenceTableCutsLists(t *testing.T) {
	step := evidence.Step{Container: "step-a", State: evidence.StateEvidence, Format: signing.FormatV1}
	for i := range 4096 {
		name := fmt.Sprintf("result-%d", i)
		step.Entries = append(step.Entries, evidence.Entry{Kind: 1, Called: "task result", Name: name, SHA256: digestA})
		step.ManifestNames = append(step.ManifestNames, name)
		step.Signatures = append(step.Signatures, evidence.Signature{Carrier: name + ".sig"})
		step.Problems = append(step.Problems, name)
	}
	var b bytes.Buffer
	if err := newEvidence(evidence.TaskRun{Steps: []evidence.Step{step}}).Table(&b, Options{}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(b.String(), "\n"); lines > 64*7 {
		t.Errorf("%d lines", lines)
	}
	if got := strings.Count(b.String(), "… 4032 more"); got != 4 {
		t.Errorf("%d lists say that they are cut, want 4", got)
	}
}
