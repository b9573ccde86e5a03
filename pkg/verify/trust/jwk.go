// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// privateMembers are those that only private and symmetric keys have (RFC 7518, section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// UnmarshalJSON reads a JWK (RFC 7517). It ignores other members, which a cluster's own JWKS document may
// have. A key that is not for signatures is an error, and so is one that is not public.
func (j *JWK) UnmarshalJSON(data []byte) error {
	type public JWK
	var key struct {
		public
		Use string `json:"use"`
	}
	if err := strictjson.DecodeOpen(data, &key); err != nil {
		return err
	}
	if key.Use != "" && key.Use != "sig" {
		return fmt.Errorf("key %q: expected the use \"sig\", got %q", key.KeyID, key.Use)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for _, name := range privateMembers {
		if _, ok := members[name]; ok {
			return fmt.Errorf("key %q has the member %q of private keys", key.KeyID, name)
		}
	}
	*j = JWK(key.public)
	return nil
}
