// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/evidence"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// maxListed is how many names, entries or steps of one kind the table lists.
const maxListed = 64

// evidenceWidth is the width of the column of field names.
const evidenceWidth = 14

// Table writes the inspection for people. The first and the last line state that nothing is verified. No text
// of a TaskRun can come before the first or after the last line.
func (r *EvidenceReport) Table(w io.Writer, options Options) error {
	t := &evidenceTable{style: options.Style, verbose: options.Verbose}
	notice := strings.ToUpper(EvidenceNotice[:1]) + EvidenceNotice[1:] + "."
	t.line(t.style.render(t.style.warn, notice))
	for i := range r.Items {
		t.taskRun(&r.Items[i])
	}
	t.line("")
	t.line(t.style.render(t.style.warn, notice+" To verify, use verify."))
	_, err := io.WriteString(w, t.b.String())
	return err
}

// evidenceTable collects lines. All text in them is escaped.
type evidenceTable struct {
	b       strings.Builder
	style   Style
	verbose bool
}

func (t *evidenceTable) line(text string) { t.b.WriteString(strings.TrimRight(text, " ") + "\n") }

// field writes one field of a step. It escapes the value.
func (t *evidenceTable) field(name, value string) {
	width := display.DefaultWidth
	if t.verbose {
		width = len(value)
	}
	t.line(fmt.Sprintf("    %s %s", t.label(name), display.Short(value, width)))
}

func (t *evidenceTable) label(name string) string {
	return t.style.render(t.style.dim, fmt.Sprintf("%-*s", evidenceWidth, name))
}

// head begins a part of a step.
func (t *evidenceTable) head(text string) { t.line("  " + t.style.render(t.style.bold, text)) }

func (t *evidenceTable) taskRun(item *evidence.TaskRun) {
	t.line("")
	uid := ""
	if item.TaskRun.UID != "" {
		uid = "  UID " + display.Safe(string(item.TaskRun.UID))
	}
	t.line(t.style.render(t.style.bold, "TaskRun "+display.Safe(item.TaskRun.String())) + t.style.render(t.style.dim, uid))
	if item.Pod != "" {
		t.line(t.style.render(t.style.dim, "  pod "+display.Safe(item.Pod)))
	}
	if len(item.Steps) == 0 {
		t.line("  no steps")
	}
	for i := range item.Steps {
		if i == maxListed && !t.verbose {
			t.line(fmt.Sprintf("  … %d more steps (-v shows them)", len(item.Steps)-i))
			break
		}
		t.step(&item.Steps[i])
	}
	t.receipt(item.Receipt)
	for _, note := range item.Notes {
		t.line("  note: " + display.Short(note, 2*display.DefaultWidth))
	}
}

// receipt shows what the add-on's record contains about the pod.
func (t *evidenceTable) receipt(r *evidence.Receipt) {
	if r == nil {
		return
	}
	t.line("")
	const what = ": what the add-on recorded about the pod, as the kubelet reported it"
	t.line(t.style.render(t.style.bold, "Receipt") + what)
	for _, f := range []struct{ name, value string }{
		{"basis", r.Basis}, {"seen at", r.VerifiedAt}, {"add-on", r.AddOnVersion},
		{"pod UID", r.PodUID}, {"created", r.Created}, {"node", r.Node}, {"runtime class", r.RuntimeClass},
		{"phase", r.Phase}, {"log SHA-256", r.Log},
	} {
		if f.value != "" {
			t.field(f.name, f.value)
		}
	}
	for i, s := range r.Steps {
		if i == maxListed && !t.verbose {
			t.line(fmt.Sprintf("  … %d more containers (-v shows them)", len(r.Steps)-i))
			break
		}
		t.receiptStep(&s)
	}
	for _, n := range r.Attempts {
		t.field("attempt", fmt.Sprintf("%d has a receipt too", n+1))
	}
	t.token("of the record", r.Token)
	t.head("Digests next to each other")
	t.line("    sha256:" + display.Safe(r.Digest) + " of the record, computed here")
	t.line("    sha256:" + display.Safe(r.Token.Digest) + " in the audience of its token")
}

func (t *evidenceTable) receiptStep(s *evidence.ReceiptStep) {
	t.head("Container " + display.Short(s.Container, display.DefaultWidth))
	t.field("exit code", fmt.Sprint(s.ExitCode))
	t.field("reason", cmp.Or(s.Reason, "none: it never ended"))
	t.field("image", s.ImageID)
	if s.Message != "" {
		t.field("message", "sha256:"+s.Message)
	}
}

// stateTexts describe what a step left.
var stateTexts = map[evidence.State]string{
	evidence.StateUnsigned:   "is not signed, for a reason that nothing proves",
	evidence.StateAbsent:     "no evidence",
	evidence.StateUnreadable: "the message is not as Tekton stores it",
	evidence.StateEnded:      "ended from outside, its message is plain text",
	evidence.StateRunning:    "has not ended",
}

func (t *evidenceTable) step(s *evidence.Step) {
	t.line("")
	title := "Step " + display.Short(s.Container, display.DefaultWidth)
	text := stateTexts[s.State]
	if s.State == evidence.StateEvidence {
		text = "evidence of format " + cmp.Or(string(s.Format), "unknown")
	}
	t.line(t.style.render(t.style.bold, title) + ": " + text)
	for _, p := range t.cut(s.Problems) {
		t.line("  " + t.style.render(t.style.warn, "! "+display.Short(p, 2*display.DefaultWidth)))
	}
	if s.Reason != "" {
		t.field("reason", s.Reason)
	}
	if s.ExitCode != nil {
		t.field("exit code", fmt.Sprint(*s.ExitCode))
	}
	t.carriers(s)
	t.header(s.Header)
	t.manifestNames(s)
	t.token(signing.CarrierToken, s.Token)
	for i := range s.Certificates {
		t.certificate(i, &s.Certificates[i])
	}
	if k := s.PublicKey; k != nil {
		t.head("Public key (" + signing.CarrierPublicKey + ")")
		t.field("kind", k.Kind)
		t.field("SHA-256", k.SHA256)
	}
	t.signatures(s.Signatures)
	t.entries(s.Entries)
	t.statement(s)
}

// cut returns as many of list as the table shows.
func (t *evidenceTable) cut(list []string) []string {
	if t.verbose || len(list) <= maxListed {
		return list
	}
	return append(list[:maxListed:maxListed], fmt.Sprintf("… %d more (-v shows them)", len(list)-maxListed))
}

func (t *evidenceTable) carriers(s *evidence.Step) {
	var texts []string
	for _, c := range s.Carriers {
		texts = append(texts, fmt.Sprintf("%s (%d bytes)", c.Name, c.Bytes))
	}
	if len(texts) > 0 {
		t.field("carriers", strings.Join(texts, ", "))
	}
}

func (t *evidenceTable) header(h *evidence.Header) {
	if h == nil {
		return
	}
	t.head("Header (" + signing.CarrierManifest + ")")
	t.field("backend", fmt.Sprintf("%d: %s, %s", h.Scheme.Value, h.Scheme.Meaning, h.Backend))
	t.field("algorithm", fmt.Sprintf("%d: %s", h.Algorithm.Value, h.Algorithm.Meaning))
	t.field("flags", fmt.Sprintf("%d: %s", h.Flags.Value, cmp.Or(strings.Join(h.Flags.Meanings, "; "), "none")))
	t.field("pod UID", h.PodUID)
	t.field("TaskRun UID", h.TaskRunUID)
	t.field("signing time", h.SignedAt)
	t.field("position", fmt.Sprintf("step %d of %d", int(h.Index)+1, h.Count))
	t.field("entries", fmt.Sprint(h.Entries))
}

func (t *evidenceTable) manifestNames(s *evidence.Step) {
	if s.Format != signing.FormatV1 {
		return
	}
	t.head("Manifest (" + signing.CarrierManifest + ")")
	for _, name := range t.cut(s.ManifestNames) {
		t.line("    " + display.Name(name))
	}
}

func (t *evidenceTable) token(where string, k *evidence.Token) {
	if k == nil {
		return
	}
	t.head(fmt.Sprintf("Token (%s, %d bytes)", where, k.Bytes))
	if k.Claims == nil || t.verbose {
		t.field("header", k.HeaderJSON)
		t.field("claims", k.ClaimsJSON)
	}
	if k.Claims == nil {
		return
	}
	c := k.Claims
	for _, f := range []struct{ name, value string }{
		{"algorithm", k.Algorithm}, {"key ID", k.KeyID}, {"issuer", c.Issuer}, {"subject", c.Subject},
		{"audience", strings.Join(c.Audience, ", ")}, {"audience kind", audienceTexts(k.AudienceKind)},
		{"issued at", c.IssuedAt}, {"not before", c.NotBefore}, {"expires", c.Expiry}, {"token ID", c.ID},
		{"namespace", c.Namespace}, {"account", c.ServiceAccount}, {"pod", c.Pod}, {"pod UID", c.PodUID},
	} {
		if f.value != "" {
			t.field(f.name, f.value)
		}
	}
}

// audienceTexts describes a kind of audience.
func audienceTexts(kind string) string {
	text := map[string]string{
		"payload-bound": "the token vouches for one statement, whose digest the audience carries",
		"key-bound":     "the token vouches for one key, whose digest the audience carries",
		"record":        "the token vouches for one record of the add-on, whose digest the audience carries",
		"audience-only": "the token vouches for nothing in particular: anyone who reads it can sign with it until it expires",
		"credential":    "the API server itself may accept the token",
		"foreign":       "the token is not for signing",
	}[kind]
	return kind + ": " + text
}

func (t *evidenceTable) certificate(i int, c *evidence.Certificate) {
	t.head(fmt.Sprintf("Certificate %d", i+1))
	for _, f := range []struct{ name, value string }{
		{"subject", cmp.Or(c.Subject, "none")}, {"names", strings.Join(t.cut(c.Names), ", ")}, {"issuer", c.Issuer},
		{"serial", c.Serial}, {"not before", c.NotBefore}, {"not after", c.NotAfter}, {"CA", fmt.Sprint(c.CA)},
		{"usages", strings.Join(t.cut(c.Usages), ", ")}, {"key", c.PublicKey.Kind}, {"key SHA-256", c.PublicKey.SHA256},
		{"SHA-256", c.SHA256},
	} {
		if f.value != "" {
			t.field(f.name, f.value)
		}
	}
}

func (t *evidenceTable) signatures(list []evidence.Signature) {
	for i, s := range list {
		if i == maxListed && !t.verbose {
			t.line(fmt.Sprintf("  … %d more signatures (-v shows them)", len(list)-i))
			return
		}
		t.head("Signature (" + display.Name(s.Carrier) + ")")
		t.field("over", s.Over)
		t.field("form", fmt.Sprintf("%s, %d bytes", cmp.Or(s.Form, "unknown"), s.Bytes))
		if s.Problem != "" {
			t.field("problem", s.Problem)
		}
	}
}

func (t *evidenceTable) entries(list []evidence.Entry) {
	if len(list) == 0 {
		return
	}
	t.head("Entries: what the step emitted")
	for i, e := range list {
		if i == maxListed && !t.verbose {
			t.line(fmt.Sprintf("    … %d more (-v shows them)", len(list)-i))
			return
		}
		t.line(fmt.Sprintf("    %s %s, %d bytes, sha256:%s", t.label(display.Safe(e.Called)), display.Name(e.Name), e.Bytes,
			display.Safe(e.SHA256)))
	}
}

// statement shows what a verifier rebuilds, and its digests next to those in the evidence.
func (t *evidenceTable) statement(s *evidence.Step) {
	if s.Statement == nil {
		return
	}
	t.head("Statement, as a verifier rebuilds it from the TaskRun as it is now")
	t.field("size", fmt.Sprintf("%d bytes, payload of %d bytes", s.Statement.Bytes, s.Statement.PayloadBytes))
	t.field("payload", "sha256:"+s.Statement.PayloadSHA256)
	t.field("digest", "sha256:"+s.Statement.Digest)
	if t.verbose {
		t.field("text", s.Statement.Text)
	}
	for _, d := range s.Digests {
		t.head("Digests next to each other")
		t.line(fmt.Sprintf("    sha256:%s of the %s, computed here", display.Safe(d.Computed), display.Safe(d.Of)))
		t.line(fmt.Sprintf("    sha256:%s in the %s", display.Safe(d.Carried), display.Safe(d.Carrier)))
	}
}
