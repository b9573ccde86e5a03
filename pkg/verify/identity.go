// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// identity is who signed. Call it for a verified TaskRun.
func (j *judge) identity() *Identity {
	first := j.units[0]
	id := &Identity{PodUID: types.UID(first.podUID())}
	if first.token != nil {
		id.Subject, id.Issuer = first.token.Claims.Subject, first.token.Claims.Issuer
	} else {
		id.Subject = j.taskRunID()
	}
	for _, u := range j.units {
		switch {
		case u.token != nil:
			id.KeyIDs = append(id.KeyIDs, u.token.KeyID)
		case u.authority != nil:
			id.KeyIDs = append(id.KeyIDs, u.authority.Fingerprint())
		}
	}
	slices.Sort(id.KeyIDs)
	id.KeyIDs = slices.Compact(id.KeyIDs)
	return id
}

// signingTime is when the last step signed. Call it for a verified TaskRun.
func (j *judge) signingTime() *SigningTime {
	if j.record.good() {
		return j.record.time()
	}
	last := slices.MaxFunc(j.units, func(a, b *unit) int { return a.at.Compare(b.at) })
	t := &SigningTime{Source: TimeFromToken, At: last.at.UTC()}
	switch {
	case last.token != nil:
		// Whoever holds a token with a fixed audience can sign later than it was issued.
		t.Trusted = last.kind.scheme != signing.SchemeOIDCAudienceOnly
	case last.kind.format == signing.FormatV2:
		t.Source = TimeFromHeader
	default:
		t.Source = TimeFromStatus
	}
	return t
}
