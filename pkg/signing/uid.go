// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"encoding/hex"
	"fmt"
)

// UID is a Kubernetes object UID, a UUID (RFC 9562) in its binary form.
type UID [16]byte

// ParseUID reads only the canonical text form, 36 characters in lower case.
func ParseUID(s string) (UID, error) {
	var uid UID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UID{}, fmt.Errorf("invalid UID %q: expected the form 8-4-4-4-12", s)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(uid[:], []byte(digits)); err != nil {
		return UID{}, fmt.Errorf("invalid UID %q: %w", s, err)
	}
	if uid.String() != s {
		return UID{}, fmt.Errorf("invalid UID %q: expected lower case", s)
	}
	return uid, nil
}

// String returns the canonical text form.
func (u UID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
