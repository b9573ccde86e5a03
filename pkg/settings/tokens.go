// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// Tokens returns which tokens are signing tokens.
func (s Settings) Tokens() check.Tokens {
	return check.Tokens{Audience: s.AudiencePrefix, Lifetime: s.TokenLifetime}
}

// StepAudiences returns the audiences that the tokens of steps can have, for one digest. The fixed audience is among
// them only if signers request it.
func (s Settings) StepAudiences(digest signing.Digest) []string {
	audiences := []string{
		signing.Audience(s.AudiencePrefix, signing.AudiencePayload, digest),
		signing.Audience(s.AudiencePrefix, signing.AudienceKey, digest),
	}
	if s.Binding == signing.BindingAudience {
		audiences = append(audiences, signing.FixedAudience(s.AudiencePrefix))
	}
	return audiences
}
