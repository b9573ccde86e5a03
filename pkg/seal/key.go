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

// Key is the secret that only the replicas of the add-on hold. The zero value is not a usable key.
type Key struct{ secret []byte }

// ParseKey reads the key from the data of a Secret.
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

// NewSecret returns the data for a new key.
func NewSecret() []byte {
	secret := make([]byte, KeyBytes)
	_, _ = rand.Read(secret) // never fails
	return secret
}

// Usable reports whether k holds a key.
func (k Key) Usable() bool { return len(k.secret) == KeyBytes }
