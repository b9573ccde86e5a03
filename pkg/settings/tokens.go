// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"regexp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// StepAudiences returns the audiences that the tokens of steps can have, for one digest. The fixed audience is among
// them only if signers request it.
func (s Settings) StepAudiences(digest signing.Digest) []string {
	audiences := []string{
		signing.Audience(s.Tokens.Audience, signing.AudiencePayload, digest),
		signing.Audience(s.Tokens.Audience, signing.AudienceKey, digest),
	}
	if s.Binding == signing.BindingAudience {
		audiences = append(audiences, signing.FixedAudience(s.Tokens.Audience))
	}
	return audiences
}

// prefixForm excludes all characters with a special meaning in an audience, a CEL string or a regular
// expression, because the prefix is used in all of them.
var prefixForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckAudience returns an error for a value that cannot be the first part of signing audiences.
func CheckAudience(prefix string) error {
	if !prefixForm.MatchString(prefix) {
		return fmt.Errorf("expected lower case letters, digits and hyphens, at most 63 of them, got %q", prefix)
	}
	return nil
}
