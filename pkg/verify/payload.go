// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// changedMessage is what it means that something else was signed than is shown.
const changedMessage = "the step's message, its exit code, or the names of namespace, TaskRun, pod or container are not the signed ones"

// rebuildCounted rebuilds what was signed, if the TaskRun shows as many entries as the header counts.
func (j *judge) rebuildCounted(u *unit) (signing.Unit, bool) {
	rebuilt, err := j.rebuild(u)
	if err != nil {
		j.refute(u, CheckPayload, "entries that can be counted", err.Error(), "the step's message holds too much")
		return rebuilt, false
	}
	if want, got := int(u.header.Entries), len(rebuilt.Entries); want != got {
		if !j.lost(u, got) && !j.untraced(u, got) {
			j.differs(u, fmt.Sprintf("%d entries", want), fmt.Sprintf("%d entries", got),
				"entries were added to or removed from the step's message")
		}
		return rebuilt, false
	}
	j.checkSpelling(u)
	return rebuilt, true
}

// compareDigest compares what a token was issued for with what the TaskRun shows.
func (j *judge) compareDigest(u *unit, signed signing.Digest) {
	rebuilt, ok := j.rebuildCounted(u)
	if !ok {
		return
	}
	u.compared = true
	if got := rebuilt.Digest(); got != signed {
		j.differs(u, digestText(signed), digestText(got), changedMessage)
	}
}

// differs says that something else was signed than is shown. Where what is shown may be another form of what was signed, nobody
// can tell.
func (j *judge) differs(u *unit, expected, got, message string) {
	if j.restored && !j.exact() {
		j.doubt(u, CheckPayload, expected, got, inexactMessage)
		return
	}
	j.refute(u, CheckPayload, expected, got, message)
}

// compareSigned compares what a key signed with what the TaskRun shows. Nobody can tell a signature over another message from
// one by another key.
func (j *judge) compareSigned(u *unit, key crypto.PublicKey, message, signature []byte) {
	u.compared = true
	err := u.header.Algorithm.Verify(key, message, signature)
	switch {
	case err == nil:
	case errors.Is(err, signing.ErrSignature):
		j.differs(u, "a signature over "+digestText(sha256.Sum256(message)), "a signature over something else", changedMessage)
	default:
		j.refute(u, CheckSignature, "a signature in the form of its algorithm", err.Error(), "the signature is not well-formed")
	}
}

func digestText(d signing.Digest) string { return "sha256:" + hex.EncodeToString(d[:]) }
