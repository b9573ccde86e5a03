// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// version2 is the first byte of a v2 header.
const version2 = 2

// headerSize is the length of a v2 header in bytes.
const headerSize = 44

// manifestPrefix begins the RESULT_MANIFEST of a signed step.
const manifestPrefix = "v2:"

// Algorithm is the header's signature algorithm.
type Algorithm uint8

// The algorithms of evidence v2.
const (
	AlgorithmNone      Algorithm = 0 // the identity vouches for the digest itself
	AlgorithmECDSAP256 Algorithm = 1 // SHA-256, 64 bytes r‖s, low S
	AlgorithmEd25519   Algorithm = 2
	AlgorithmRSA       Algorithm = 3 // RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 4096 bits
)

// Flags are the header's bits.
type Flags uint8

// The flags of evidence v2. Any other bit makes a header invalid.
const (
	FlagLast        Flags = 1 << 0 // exactly when the step is the pod's last
	FlagSidecarLogs Flags = 1 << 1 // values travel by the log of Tekton's results sidecar
	FlagStepFails   Flags = 1 << 2 // the container exits non-zero, so the step fails the TaskRun

	knownFlags = FlagLast | FlagSidecarLogs | FlagStepFails
)

// Header describes the step to which a unit of evidence belongs, and how the unit is signed.
type Header struct {
	Scheme     Scheme
	Algorithm  Algorithm
	Flags      Flags
	PodUID     UID
	TaskRunUID UID
	SignedAt   time.Time // whole seconds; informative, except for certificates
	Index      uint8     // position of the step among the pod's step containers
	Count      uint8     // number of step containers
	Entries    uint16
}

// Has reports whether all bits of flag are set.
func (f Flags) Has(flag Flags) bool { return f&flag == flag }

// Validate returns an error for the first rule of docs/evidence.md that the header breaks.
func (h Header) Validate() error {
	switch {
	case !h.Scheme.allows(h.Algorithm):
		return fmt.Errorf("backend %d with algorithm %d is not allowed", h.Scheme, h.Algorithm)
	case h.Flags&^knownFlags != 0:
		return fmt.Errorf("unknown flag bits %#02x", uint8(h.Flags&^knownFlags))
	case h.Index >= h.Count:
		return fmt.Errorf("step index %d is outside of the %d steps", h.Index, h.Count)
	case h.Flags.Has(FlagLast) != (h.Index == h.Count-1):
		return fmt.Errorf("the flag of the last step is wrong for step %d of %d", h.Index, h.Count)
	}
	return nil
}

// appendBinary appends the 44 bytes of the header, big-endian.
func (h Header) appendBinary(b []byte) []byte {
	b = append(b, version2, byte(h.Scheme), byte(h.Algorithm), byte(h.Flags))
	b = append(b, h.PodUID[:]...)
	b = append(b, h.TaskRunUID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.SignedAt.Unix())) // #nosec G115 -- the format ends in 2106
	b = append(b, h.Index, h.Count)
	return binary.BigEndian.AppendUint16(b, h.Entries)
}

// Manifest returns the value of RESULT_MANIFEST, 62 characters.
func (h Header) Manifest() string {
	return manifestPrefix + base64.RawURLEncoding.EncodeToString(h.appendBinary(nil))
}

// ParseManifest reads a value of RESULT_MANIFEST written by Manifest. Every header that it returns is valid.
func ParseManifest(value string) (Header, error) {
	h, err := DecodeManifest(value)
	if err != nil {
		return Header{}, err
	}
	if err := h.Validate(); err != nil {
		return Header{}, err
	}
	return h, nil
}

// DecodeManifest is ParseManifest without Validate, for callers that show a header and do not verify it.
func DecodeManifest(value string) (Header, error) {
	encoded, ok := strings.CutPrefix(value, manifestPrefix)
	if !ok {
		return Header{}, fmt.Errorf("expected a manifest that begins with %q", manifestPrefix)
	}
	if max := base64.RawURLEncoding.EncodedLen(headerSize); len(encoded) != max {
		return Header{}, fmt.Errorf("expected a header of %d characters, got %d", max, len(encoded))
	}
	b, err := DecodeBase64URL(encoded)
	if err != nil {
		return Header{}, fmt.Errorf("decoding the header: %w", err)
	}
	if b[0] != version2 {
		return Header{}, fmt.Errorf("expected format version %d, got %d", version2, b[0])
	}
	return Header{
		Scheme:     Scheme(b[1]),
		Algorithm:  Algorithm(b[2]),
		Flags:      Flags(b[3]),
		PodUID:     UID(b[4:20]),
		TaskRunUID: UID(b[20:36]),
		SignedAt:   time.Unix(int64(binary.BigEndian.Uint32(b[36:40])), 0).UTC(),
		Index:      b[40],
		Count:      b[41],
		Entries:    binary.BigEndian.Uint16(b[42:44]),
	}, nil
}

// DecodeBase64URL decodes unpadded base64url and accepts only the canonical form, without line breaks or
// trailing bits.
func DecodeBase64URL(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("not canonical base64url")
	}
	return b, nil
}
