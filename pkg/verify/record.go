// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// TimeFromRecord is the source of a time that the add-on's record proves: the evidence is not younger.
const TimeFromRecord = "record"

// Recorded is what a record says, whose proof is good. Whether it is still of the TaskRun as it is, is told by the check
// record.
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
}

// recorded is a record whose proof is good.
type recorded struct {
	record.Predicate
	subject string // who recorded
	keyID   string
	at      time.Time // when the proof was issued
	matches bool      // it is of this TaskRun as it is, perhaps less the messages
	archive bool      // the messages are gone
}

// good reports whether the record is of this TaskRun.
func (r *recorded) good() bool { return r != nil && r.matches }

// proves reports whether the record is good and found the TaskRun VERIFIED.
func (r *recorded) proves() bool { return r.good() && Verdict(r.Verdict) == Verified }

// provesDeclaration reports whether the add-on had reason to vouch for status.taskSpec.
func (r *recorded) provesDeclaration() bool {
	return r.proves() && slices.Contains(r.Checks, record.Check{ID: string(CheckDeclaration), Status: string(Pass)})
}

// summary is what is shown of it.
func (r *recorded) summary() *Recorded {
	if r == nil {
		return nil
	}
	return &Recorded{
		Recorder: r.subject, RecordedAt: r.at.UTC(), KeyID: r.keyID, VerifiedAt: r.VerifiedAt, Verdict: Verdict(r.Verdict),
		Backend: signing.Backend(r.Backend), Assurance: signing.Assurance(r.Assurance), KeyIDs: r.Keys,
		AddOnVersion: r.AddOnVersion,
	}
}

// readRecord looks at the add-on's record, if the TaskRun carries one.
func (j *judge) readRecord() {
	text, ok := j.tr.Status.Annotations[record.Annotation]
	if !ok {
		return
	}
	encoded, err := record.Decode(text)
	if err != nil {
		j.fail(CheckRecord, "a record of the add-on", err.Error(), "the record cannot be read: somebody else wrote it, or changed it")
		return
	}
	token, err := oidc.ParseToken(encoded.Token)
	if err != nil {
		j.fail(CheckRecord, "a service account token as proof", err.Error(), "the record's proof cannot be read")
		return
	}
	if len(j.v.recorders) == 0 {
		j.add(Check{ID: CheckRecord, Status: Note, Message: "the trust bundle names no recorders, so that the TaskRun's record is of no use: " +
			"export the bundle again"})
		return
	}
	if !j.recorderKey(token) || !j.recorderToken(token, record.DigestOf(encoded.Statement)) {
		return
	}
	if said := Verdict(encoded.Record.Predicate.Verdict); !slices.Contains(Verdicts(), said) {
		j.fail(CheckRecord, fmt.Sprintf("one of %q", Verdicts()), fmt.Sprintf("%q", said),
			"the record holds a verdict that this version does not know: use a newer one")
		return
	}
	j.record = &recorded{
		Predicate: encoded.Record.Predicate, subject: token.Claims.Subject, keyID: token.KeyID, at: token.Claims.IssuedAt,
	}
	j.record.matches = j.compareRecord(encoded.Record)
}

// carriesRecord reports whether the TaskRun has a record, good or not.
func (j *judge) carriesRecord() bool {
	_, ok := j.tr.Status.Annotations[record.Annotation]
	return ok
}

// recorderKey checks who signed the proof. An unknown key proves nothing and refutes nothing.
func (j *judge) recorderKey(t *oidc.Token) bool {
	key, known := j.v.keys[t.Claims.Issuer][t.KeyID]
	if !known {
		if issuer, ok := j.v.keys.issuerOf(t.KeyID); ok {
			j.fail(CheckRecord, issuer, t.Claims.Issuer, fmt.Sprintf("key %s, of the record's proof, belongs to another issuer", t.KeyID))
			return false
		}
		j.add(Check{
			ID: CheckRecord, Status: Warn, Expected: "a key of the trust bundle", Got: fmt.Sprintf("%s of %s", t.KeyID, t.Claims.Issuer),
			Message: "the record is of no use, its proof was signed with an unknown key: export the trust bundle again",
		})
		if j.missingKey == "" {
			j.missingKey = t.KeyID
		}
		return false
	}
	switch issued := t.Claims.IssuedAt; {
	case key.invalid != nil:
		j.fail(CheckRecord, "a key that is strong enough for its algorithm", key.invalid.Error(),
			fmt.Sprintf("key %s, of the record's proof, must not be used", t.KeyID))
	case t.VerifySignature(key.Key) != nil:
		j.fail(CheckRecord, fmt.Sprintf("a signature by key %s of %s", t.KeyID, t.Claims.Issuer), "another signature",
			"the record's proof was changed, or the cluster's issuer did not sign it")
	case !key.notAfter.IsZero() && issued.After(key.notAfter.Add(rotationTolerance)):
		j.fail(CheckRecord, "a proof from before "+key.notAfter.Format(timeFormat), issued.Format(timeFormat),
			fmt.Sprintf("key %s was retired when it signed the record's proof", t.KeyID))
	default:
		return true
	}
	return false
}

// recorderToken checks that the proof is for this record, of somebody who may record, and of a time at which that could be.
func (j *judge) recorderToken(t *oidc.Token, digest signing.Digest) bool {
	c := t.Claims
	if c.KindOf(j.v.audiencePrefix) == oidc.AudienceCredential {
		j.fail(CheckCredentialLeak, "the one audience "+j.v.audiencePrefix+":r:<digest>", fmt.Sprintf("%q", c.Audience),
			"critical: the API server itself accepts the token in the record")
		return false
	}
	if want := []string{signing.RecordAudience(j.v.audiencePrefix, digest)}; !slices.Equal(c.Audience, want) {
		j.fail(CheckRecord, fmt.Sprintf("%q", want), fmt.Sprintf("%q", c.Audience), "the proof is not one of this record")
		return false
	}
	account := "system:serviceaccount:" + c.Namespace + ":" + c.ServiceAccount
	if !slices.Contains(j.v.recorders, c.Subject) || c.Subject != account {
		j.fail(CheckRecord, "a record by "+strings.Join(j.v.recorders, " or "), fmt.Sprintf("one by %s, account %s", c.Subject, account),
			"the record is of somebody who is not trusted to record")
		return false
	}
	if lifetime := c.Expiry.Sub(c.IssuedAt); lifetime <= 0 || lifetime > j.v.lifetime || c.NotBefore.After(c.IssuedAt) {
		j.fail(CheckRecord, fmt.Sprintf("a proof valid at once, for at most %s", j.v.lifetime), fmt.Sprintf("valid for %s", lifetime),
			"the record's proof lives longer than the policies allow")
		return false
	}
	earliest := j.tr.CreationTimestamp.Add(-runTolerance)
	if completed := j.tr.Status.CompletionTime; completed != nil {
		earliest = completed.Add(-runTolerance)
	}
	if c.IssuedAt.Before(earliest) {
		j.fail(CheckRecord, "a proof from after "+earliest.UTC().Format(timeFormat), c.IssuedAt.UTC().Format(timeFormat),
			"the record was made before the TaskRun completed")
		return false
	}
	return !j.isFuture(c.IssuedAt, "the record was made")
}

// compareRecord reports whether a proven record is of this TaskRun as it is.
func (j *judge) compareRecord(r record.Record) bool {
	p, attempts := r.Predicate, Attempts(j.tr)
	now, err := record.Project(j.tr)
	var digest string
	if err == nil {
		digest, err = now.Digest()
	}
	switch {
	case err != nil:
		j.fail(CheckRecord, "a TaskRun that can be recorded", err.Error(), "the record is of another TaskRun, or of another state of it")
	case p.Cluster != j.v.cluster.UID:
		j.fail(CheckRecord, j.v.cluster.UID, p.Cluster, "the record is of another cluster")
	case p.Attempt != attempts:
		j.fail(CheckRecord, fmt.Sprintf("attempt %d", p.Attempt), fmt.Sprintf("attempt %d", attempts), "the record is of another attempt")
	case digest == r.TaskRun:
		return true
	case !now.HasMessages() && digest == p.WithoutMessages:
		j.record.archive = true
		return true
	default:
		j.fail(CheckRecord, "sha256:"+r.TaskRun, "sha256:"+digest, "the TaskRun was changed after it was recorded: "+changedFields(p, now))
	}
	return false
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

// archived takes the record in the place of evidence that an archive has not kept. It reports whether it did.
func (j *judge) archived() bool {
	if !j.record.good() || !j.record.archive {
		return false
	}
	if !j.record.proves() {
		j.add(Check{
			ID: CheckCoverage, Status: Unknown, Expected: "evidence in the steps' termination messages, or a record that says VERIFIED",
			Got: "no messages, and a record that says " + j.record.Verdict, Message: "the steps' messages are gone",
		})
		return true
	}
	j.pass(CheckCoverage, "the steps' messages are gone, the add-on's record stands for them")
	j.caveats = append(j.caveats, "the evidence is gone: that it was good is the word of "+j.record.subject)
	if j.recordedFormat() == signing.FormatV1 {
		j.caveats = append(j.caveats, legacyCaveats...)
	}
	if minimum := j.v.minimumFormat; minimum != "" && !j.recordedFormat().AtLeast(minimum) {
		j.fail(CheckFormat, "evidence of at least format "+string(minimum), "format "+string(j.recordedFormat()),
			"the recorded evidence was of a format that the verifier was told to refuse: see the minimum format")
	}
	j.checkMinimumAssurance(signing.Assurance(j.record.Assurance))
	if !j.record.provesDeclaration() {
		j.caveats = append(j.caveats, unprovenDeclaration)
	}
	j.outcome()
	j.proven = true
	return true
}

// recordedFormat is the format of the evidence that was recorded.
func (j *judge) recordedFormat() signing.Format {
	if signing.Assurance(j.record.Assurance) == signing.AssuranceLegacy {
		return signing.FormatV1
	}
	return signing.FormatV2
}

// settleRecord compares what the record says with what was found now.
func (j *judge) settleRecord(found Verdict) {
	switch {
	case j.record == nil:
		if len(j.units) > 0 && !j.carriesRecord() && (j.ownerProven() || j.v.allowUnrecorded || found != Verified) {
			j.add(Check{ID: CheckRecord, Status: Note, Message: "the TaskRun carries no record of the add-on"})
		}
		return
	case !j.record.matches:
		return
	}
	for _, u := range j.units {
		if uid := u.podUID(); u.read && uid != "" && j.record.PodUID != "" && uid != j.record.PodUID {
			j.refute(u, CheckRecord, j.record.PodUID, uid, "the record names another pod than the evidence")
			return
		}
	}
	said := Verdict(j.record.Verdict)
	at := j.record.at.UTC().Format(timeFormat)
	switch {
	case said == found:
		j.pass(CheckRecord, fmt.Sprintf("%s by %s at %s", said, j.record.subject, at))
	case said == Failed, found == Verified && (said == Unsigned || said == NoResults):
		j.fail(CheckRecord, fmt.Sprintf("%s, as the add-on found at %s", said, at), string(found),
			"the add-on knew of something that does not show now")
	default:
		j.add(Check{
			ID: CheckRecord, Status: Note, Expected: fmt.Sprintf("%s, as the add-on found at %s", said, at), Got: string(found),
			Message: "the record says something else: it never makes a verdict better",
		})
	}
}

// time is when the record was proven: the evidence is not younger.
func (r *recorded) time() *SigningTime {
	return &SigningTime{Source: TimeFromRecord, At: r.at.UTC(), Trusted: true}
}

// fromRecord fills in what evidence that is gone would have said.
func (j *judge) fromRecord(r *Result) {
	p := j.record.Predicate
	r.Backend, r.Format, r.Assurance = signing.Backend(p.Backend), j.recordedFormat(), signing.Assurance(p.Assurance)
	r.Time = j.record.time()
	r.Identity = &Identity{Subject: j.subject(), PodUID: types.UID(p.PodUID), KeyIDs: p.Keys}
	if r.Backend == signing.BackendSPIRE {
		r.Identity.Subject = j.taskRunID()
	}
}
