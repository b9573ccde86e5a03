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

// changedMessage explains that the TaskRun shows something else than what was signed.
const changedMessage = "the step's message, its exit code, or the names of namespace, TaskRun, pod or container are " +
	"not the signed ones"

// comparison compares what an identity vouches for with what the TaskRun shows.
type comparison struct {
	run
	found    *findings
	restored bool // the only step's message was rebuilt from the status
}

// rebuildCounted rebuilds what was signed, if the TaskRun shows as many entries as the header counts.
func (c *comparison) rebuildCounted(u *unit) (signing.Unit, bool) {
	rebuilt, err := c.rebuild(u)
	if err != nil {
		c.found.refute(u, CheckPayload, "entries that can be counted", err.Error(), "the step's message holds too much")
		return rebuilt, false
	}
	if want, got := int(u.header.Entries), len(rebuilt.Entries); want != got {
		if !c.lost(u, got) && !c.untraced(u, got) {
			c.differs(u, fmt.Sprintf("%d entries", want), fmt.Sprintf("%d entries", got),
				"entries were added to or removed from the step's message")
		}
		return rebuilt, false
	}
	c.checkSpelling(u)
	return rebuilt, true
}

// compareDigest compares what a token was issued for with what the TaskRun shows.
func (c *comparison) compareDigest(u *unit, signed signing.Digest) {
	rebuilt, ok := c.rebuildCounted(u)
	if !ok {
		return
	}
	u.compared = true
	if got := rebuilt.Digest(); got != signed {
		c.differs(u, digestText(signed), digestText(got), changedMessage)
	}
}

// differs adds a failed check: the TaskRun shows something else than what was signed. If the TaskRun may show
// another form of the same value, the check is undecided.
func (c *comparison) differs(u *unit, expected, got, message string) {
	if c.restored && !c.exact() {
		c.found.doubt(u, CheckPayload, expected, got, inexactMessage)
		return
	}
	c.found.refute(u, CheckPayload, expected, got, message)
}

// compareSigned compares what a key signed with what the TaskRun shows. A signature over another message and
// one by another key look the same.
func (c *comparison) compareSigned(u *unit, key crypto.PublicKey, message, signature []byte) {
	u.compared = true
	err := u.header.Algorithm.Verify(key, message, signature)
	switch {
	case err == nil:
	case errors.Is(err, signing.ErrSignature):
		c.differs(u, "a signature over "+digestText(sha256.Sum256(message)), "a signature over something else",
			changedMessage)
	default:
		c.found.refute(u, CheckSignature, "a signature in the form of its algorithm", err.Error(),
			"the signature is not well-formed")
	}
}

func digestText(d signing.Digest) string { return "sha256:" + hex.EncodeToString(d[:]) }

// verifyDetached checks the signature that a unit carries, made with the private half of key.
func (c *comparison) verifyDetached(u *unit, key crypto.PublicKey) {
	if u.kind.format == signing.FormatV1 {
		c.verifyLegacy(u, key)
		return
	}
	if got := signing.AlgorithmOf(key); got != u.header.Algorithm {
		c.found.refute(u, CheckSignature, fmt.Sprintf("a key for algorithm %d", u.header.Algorithm),
			fmt.Sprintf("a key for algorithm %d", got),
			"the key is not one that signs in this way")
		return
	}
	signature, err := signing.DecodeBase64URL(u.step.carriers[signing.CarrierManifestSignature])
	if err != nil {
		c.found.refute(u, CheckSignature, "a signature in base64url", err.Error(), "the signature cannot be read")
		return
	}
	rebuilt, ok := c.rebuildCounted(u)
	if !ok {
		return
	}
	c.compareSigned(u, key, rebuilt.Message(), signature)
}
