// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// MaxBytes bounds a seal, in bytes.
const MaxBytes = 128 << 10

const (
	prefix = "v1."
	// domain begins every authenticated text, so that a seal cannot be used for another purpose.
	domain = "tekton-sign.dev/seal/v1\x00"
)

// errNoKey is returned until the add-on has a key.
var errNoKey = errors.New("the key of the seal is not known yet")

// ErrForged is returned for a seal that was made without the key, or for another subject.
var ErrForged = errors.New("the seal is not the add-on's, or not of this state")

// Make returns the value of the annotation: v1, the facts and the authenticator, joined by points.
func Make(key Key, of Subject, found Facts) (string, error) {
	if !key.Usable() {
		return "", errNoKey
	}
	body, err := json.Marshal(found)
	if err != nil {
		return "", fmt.Errorf("encoding the seal: %w", err)
	}
	sum := authenticator(key, of, body)
	text := prefix + encode(body) + "." + encode(sum)
	if len(text) > MaxBytes {
		return "", fmt.Errorf("expected a seal of at most %d bytes, got %d", MaxBytes, len(text))
	}
	return text, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Open returns the facts in a seal. It returns an error unless the seal was made with the key, for exactly
// this subject.
func Open(key Key, of Subject, text string) (Facts, error) {
	switch {
	case !key.Usable():
		return Facts{}, errNoKey
	case len(text) > MaxBytes:
		return Facts{}, fmt.Errorf("expected a seal of at most %d bytes, got %d", MaxBytes, len(text))
	}
	body, sum, err := split(text)
	if err != nil {
		return Facts{}, err
	}
	if !hmac.Equal(sum, authenticator(key, of, body)) {
		return Facts{}, ErrForged
	}
	var found Facts
	if err := strictjson.Decode(body, &found); err != nil {
		return Facts{}, fmt.Errorf("reading the seal: %w", err)
	}
	return found, nil
}

func split(text string) (body, sum []byte, err error) {
	rest, ok := strings.CutPrefix(text, prefix)
	encoded, tag, found := strings.Cut(rest, ".")
	if !ok || !found {
		return nil, nil, fmt.Errorf("expected a seal of the form %s<facts>.<authenticator>, got another form", prefix)
	}
	if body, err = signing.DecodeBase64URL(encoded); err != nil {
		return nil, nil, fmt.Errorf("decoding the seal: %w", err)
	}
	if sum, err = signing.DecodeBase64URL(tag); err != nil {
		return nil, nil, fmt.Errorf("decoding the seal: %w", err)
	}
	return body, sum, nil
}

// authenticator returns the HMAC-SHA256 over the domain, the fields of the subject and the facts, each with
// its length before it.
func authenticator(key Key, of Subject, body []byte) []byte {
	var b bytes.Buffer
	b.WriteString(domain)
	c := of.Condition
	for _, part := range []string{
		of.Namespace, of.Name, of.UID, string(of.State[:]), c.Type, c.Status, c.Reason, c.Message, string(body),
	} {
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		b.WriteString(part)
	}
	mac := hmac.New(sha256.New, key.secret)
	mac.Write(b.Bytes())
	return mac.Sum(nil)
}

// RecordDigest returns the digest with which a seal names the record next to it.
func RecordDigest(record string) string {
	if record == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(record))
	return hex.EncodeToString(sum[:])
}
