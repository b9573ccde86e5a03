// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/rand"
	"fmt"
)

// KeyBytes is the length of a key.
const KeyBytes = 32

// SecretKey is the name under which the Secret of the add-on holds the key.
const SecretKey = "key"

// Key is what only the replicas of the add-on hold. The zero value is no key.
type Key struct{ secret []byte }

// ParseKey reads what a Secret holds.
func ParseKey(secret []byte) (Key, error) {
	if len(secret) != KeyBytes {
		return Key{}, fmt.Errorf("expected a key of %d bytes, got %d", KeyBytes, len(secret))
	}
	same := true
	for _, b := range secret {
		same = same && b == secret[0]
	}
	if same {
		return Key{}, fmt.Errorf("expected a random key, got one byte %d times", KeyBytes)
	}
	return Key{secret: secret}, nil
}

// NewSecret returns what a Secret is to hold.
func NewSecret() []byte {
	secret := make([]byte, KeyBytes)
	_, _ = rand.Read(secret) // never fails
	return secret
}

// Usable reports whether it is a key.
func (k Key) Usable() bool { return len(k.secret) == KeyBytes }
