// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// TimeFromRecord is the source of a time that the add-on's record proves: the evidence is at least that old.
const TimeFromRecord = "record"

// Recorded is the content of a record whose proof is good. The check record shows whether it still matches
// the TaskRun.
type Recorded struct {
	Recorder     string            `json:"recorder"`   // the subject of the proof
	RecordedAt   time.Time         `json:"recordedAt"` // when the proof was issued
	KeyID        string            `json:"keyID"`      // of the proof
	VerifiedAt   time.Time         `json:"verifiedAt"`
	Verdict      Verdict           `json:"verdict"`
	Backend      signing.Backend   `json:"backend,omitempty"`
	Assurance    signing.Assurance `json:"assurance,omitempty"`
	KeyIDs       []string          `json:"keyIDs,omitempty"` // with which the evidence was verified
	AddOnVersion string            `json:"addOnVersion,omitempty"`
	// Attempts are the earlier attempts that the add-on verified by a receipt.
	Attempts []record.Attempt `json:"attempts,omitempty"`
}

// recorded is a record whose proof is good.
type recorded struct {
	record.Predicate
	subject string // who recorded
	keyID   string
	at      time.Time // when the proof was issued
	matches bool      // the record is of this TaskRun as it is now, perhaps without the messages
	archive bool      // the messages are gone
}

// good reports whether the record matches this TaskRun.
func (r *recorded) good() bool { return r != nil && r.matches }

// proves reports whether the record is good and its verdict is VERIFIED.
func (r *recorded) proves() bool { return r.good() && Verdict(r.Verdict) == Verified }

// provesReceipt reports whether the record is good and its verdict is VERIFIED by a receipt.
func (r *recorded) provesReceipt() bool { return r.proves() && r.HasReceipt() }

// provesDeclaration reports whether the add-on vouches for status.taskSpec.
func (r *recorded) provesDeclaration() bool {
	return r.proves() && slices.Contains(r.Checks, record.Check{ID: string(CheckDeclaration), Status: string(Pass)})
}

// summary returns the part of the record that a result shows.
func (r *recorded) summary() *Recorded {
	if r == nil {
		return nil
	}
	return &Recorded{
		Recorder: r.subject, RecordedAt: r.at.UTC(), KeyID: r.keyID, VerifiedAt: r.VerifiedAt, Verdict: Verdict(r.Verdict),
		Backend: signing.Backend(r.Backend), Assurance: signing.Assurance(r.Assurance), KeyIDs: r.Keys,
		AddOnVersion: r.AddOnVersion, Attempts: r.Attempts,
	}
}

// recordReader is the stage record: it checks the add-on's record, if the TaskRun carries one.
type recordReader struct {
	run
	found   *findings
	cluster string // UID
	trusted bool   // the trust bundle names recorders
	proof   func(token string, digest signing.Digest) (check.Proof, error)
}

// readRecord returns the TaskRun's record, nil unless its proof is good.
func (v *Verifier) readRecord(ctx context.Context, r run, found *findings) *recorded {
	stage := recordReader{run: r, found: found, cluster: v.cluster.UID, trusted: v.hasRecorder, proof: v.recordProof}
	text, ok := r.tr.Status.Annotations[record.Annotation]
	if !ok {
		return nil
	}
	return stage.read(ctx, text)
}

func (r *recordReader) read(ctx context.Context, text string) *recorded {
	encoded, err := record.Decode(text)
	if err != nil {
		r.found.fail(CheckRecord, "a record of the add-on", err.Error(),
			"the record cannot be read: someone else wrote or changed it")
		return nil
	}
	proof, err := r.proof(encoded.Token, record.DigestOf(encoded.Statement))
	if err != nil {
		r.found.add(unreadable(err, CheckRecord))
		return nil
	}
	if !r.trusted {
		r.found.add(Check{ID: CheckRecord, Status: Note,
			Message: "the trust bundle names no recorders, so the TaskRun's record cannot be checked: " +
				"export the bundle again"})
		return nil
	}
	judged := proof.Judge(ctx, r.against(nil))
	r.found.add(judged.Checks...)
	r.found.missingKey = cmp.Or(r.found.missingKey, judged.MissingKey)
	if !judged.Trusted {
		return nil
	}
	if said := Verdict(encoded.Record.Predicate.Verdict); !slices.Contains(Verdicts(), said) {
		r.found.fail(CheckRecord, fmt.Sprintf("one of %q", Verdicts()), fmt.Sprintf("%q", said),
			"the record holds a verdict that this version does not know: use a newer one")
		return nil
	}
	who := proof.Who()
	found := &recorded{Predicate: encoded.Record.Predicate, subject: who.Subject, keyID: who.KeyID, at: proof.When().At}
	found.matches, found.archive = r.compareRecord(encoded.Record)
	return found
}

// compareRecord reports whether a proven record matches this TaskRun as it is now, and whether it replaces
// the messages that are gone.
func (r *recordReader) compareRecord(made record.Record) (matches, archive bool) {
	p, attempts := made.Predicate, Attempts(r.tr)
	now, err := record.Project(r.tr)
	var digest string
	if err == nil {
		digest, err = now.Digest()
	}
	switch {
	case err != nil:
		r.found.fail(CheckRecord, "a TaskRun that can be recorded", err.Error(),
			"the record is of another TaskRun, or of another state of it")
	case p.Cluster != r.cluster:
		r.found.fail(CheckRecord, r.cluster, p.Cluster, "the record is of another cluster")
	case p.Attempt != attempts:
		r.found.fail(CheckRecord, fmt.Sprintf("attempt %d", p.Attempt), fmt.Sprintf("attempt %d", attempts),
			"the record is of another attempt")
	case digest == made.TaskRun:
		return true, false
	case !now.HasMessages() && digest == p.WithoutMessages:
		return true, true
	default:
		r.found.fail(CheckRecord, "sha256:"+made.TaskRun, "sha256:"+digest,
			"the TaskRun was changed after it was recorded: "+changedFields(p, now))
	}
	return false, false
}

// changedFields names the members of the projection that differ from the recorded ones.
func changedFields(p record.Predicate, now record.Projection) string {
	fields, err := now.WithoutMessages().Fields()
	if err != nil {
		return err.Error()
	}
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if p.Fields[name] != fields[name] {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return "the steps' messages differ"
	}
	return strings.Join(changed, ", ") + " differ, and perhaps the steps' messages"
}

// stands reports whether the record replaces messages that are gone.
func (r *recorded) stands() bool { return r.good() && r.archive }

// archived uses the record instead of evidence that an archive did not keep.
func (v *Verifier) archived(r run, made *recorded, steps []*step, found *findings) {
	if !made.proves() {
		found.add(check.Doubted(CheckCoverage, "evidence in the steps' termination messages, or a record with the verdict "+
			"VERIFIED",
			"no messages, and a record with the verdict "+made.Verdict, "the steps' messages are gone"))
		return
	}
	found.pass(CheckCoverage, "the steps' messages are gone, and the add-on's record replaces them")
	found.caveat("the evidence is gone: it was good, according to " + made.subject)
	if made.format() == signing.FormatV1 {
		found.caveat(legacyCaveats...)
	}
	if !v.minimum.acceptsFormat(made.format()) {
		found.fail(CheckFormat, "evidence of at least format "+string(v.minimum.format), "format "+string(made.format()),
			"the recorded evidence was of a format below the verifier's minimum format")
	}
	v.believe(r, made, steps, found)
}

// believe ends the stages of a TaskRun whose record stands for what the steps emitted.
func (v *Verifier) believe(r run, made *recorded, steps []*step, found *findings) {
	found.add(v.minimum.checkAssurance(signing.Assurance(made.Assurance))...)
	if !made.provesDeclaration() {
		found.caveat(unprovenDeclaration)
	}
	outcome{r, found, steps, nil}.check()
	found.proven = true
}

// format returns the format of the evidence that was recorded.
func (r *recorded) format() signing.Format {
	if r.Basis == record.BasisReceipt {
		return ""
	}
	if signing.Assurance(r.Assurance) == signing.AssuranceLegacy {
		return signing.FormatV1
	}
	return signing.FormatV2
}

// time returns when the record was proven: the evidence is at least that old.
func (r *recorded) time() *SigningTime {
	return &SigningTime{Source: TimeFromRecord, At: r.at.UTC(), Trusted: true}
}
